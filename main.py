"""The `vsft` command from a checkout: `python main.py --config=configs/tiny.py --job=train …`."""

import sys

from front import main

if __name__ == "__main__":
    sys.exit(main())
