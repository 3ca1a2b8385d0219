"""Measures ModelFlow's speed. Run it with `make bench`.

An empty frame: it names the machine it runs on and measures nothing yet.
"""

from modelflow import provenance


def main() -> None:
    """Prints the machine and the versions that measurements belong to."""
    print(provenance.processor())
    print(", ".join(f"{name} {version}" for name, version in provenance.versions().items()))
    print("No measurements yet.")


if __name__ == "__main__":
    main()
