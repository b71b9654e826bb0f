"""`python -m resnet_probe` is the same as `resnet-probe`."""

from resnet_probe.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
