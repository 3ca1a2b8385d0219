#!/bin/sh
# Runs exported C on an emulated Cortex-M4 without an operating system: tests/export/on_m4.sh [PYTHON]
set -e
for tool in arm-none-eabi-gcc qemu-system-arm; do
    command -v "$tool" > /dev/null || {
        echo "$tool is missing. On Debian: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" >&2
        exit 1
    }
done
"${1:-python3}" -m pytest tests/export/test_m4.py
