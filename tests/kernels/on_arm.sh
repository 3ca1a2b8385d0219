#!/bin/sh
# The kernels' tests on ARM: where this machine is one, in .venv; elsewhere on the arm64 Python of Debian or Ubuntu under
# qemu's emulation. What that takes lies in .venv-arm, 400 MB, from where apt and pip are set to fetch.
set -eu
cd "$(dirname "$0")/../.."
tests="tests/kernels/test_portable.py tests/kernels/test_references.py"
there=$PWD/.venv-arm
system=$there/system

fail() {
  echo "make test-arm: $1" >&2
  exit 1
}

find_python() {
  python=$(echo "$system"/usr/bin/python3.[0-9][0-9])
}

fetch_python() {
  mkdir -p "$there/apt/lists/partial" "$there/apt/archives/partial" "$system/usr/lib"
  ln -s usr/lib "$system/lib" # where the packages take it for the same
  : > "$there/apt/status"     # nothing is installed: all that Python needs is fetched
  export APT_CONFIG="$there/apt/conf"
  cat > "$APT_CONFIG" << EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$there/apt";
Dir::State::status "$there/apt/status";
Dir::Cache "$there/apt";
EOF
  . /etc/os-release
  if [ -n "${UBUNTU_CODENAME:-}" ]; then # whose usual servers have no arm64
    echo "deb http://ports.ubuntu.com/ubuntu-ports $UBUNTU_CODENAME main universe" > "$there/apt/sources.list"
    printf 'Dir::Etc::SourceList "%s";\nDir::Etc::SourceParts "-";\n' "$there/apt/sources.list" >> "$APT_CONFIG"
  fi
  apt-get update -qq && apt-get install -qq --yes --no-install-recommends --download-only python3 libstdc++6 > "$there/log" ||
    fail "apt has no python3 for arm64; add a source that has, or run it on an ARM machine"
  for package in "$there"/apt/archives/*.deb; do
    dpkg-deb --extract "$package" "$system"
  done
}

fetch_packages() {
  find_python
  .venv/bin/python -m pip install --quiet --target "$there/packages" --no-compile -c constraints.txt \
    --python-version "${python##*/python}" --only-binary=:all: --platform manylinux2014_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    llvmlite numpy pydantic pytest pyyaml || fail "pip has no packages for ${python##*/} on aarch64"
}

case $(uname -m) in
  aarch64 | arm64) exec .venv/bin/python -m pytest --noconftest $tests ;;
esac
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) ||
  fail "qemu-aarch64-static: not found; install it: sudo apt-get install qemu-user-static"
for tool in apt-get dpkg-deb; do
  command -v $tool > /dev/null || fail "$tool: not found; run it on Debian, on Ubuntu, or on an ARM machine"
done
if [ ! "$there/.ready" -nt constraints.txt ]; then
  rm -rf "$there"
  fetch_python
  fetch_packages
  touch "$there/.ready"
fi
find_python
export PYTHONPATH="src:$there/packages" PYTHONNOUSERSITE=1 MODELFLOW_KERNELS="$there/kernels"
run_tests() {
  "$qemu" -L "$system" "$python" -m pytest --noconftest -p no:cacheprovider $tests -k "$1"
}

run_tests every_kind & # emulated tests are slow: two processes side by side
kinds=$! status=0
run_tests "not every_kind" || status=$?
wait $kinds || status=$?
exit $status
