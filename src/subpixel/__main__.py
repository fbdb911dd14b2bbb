"""`python -m subpixel` is the command `subpixel`."""

from subpixel.cli import main

if __name__ == "__main__":
    main()
