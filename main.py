"""The `vsft` command from a checkout: `python main.py --config=configs/demo.py --job=study …`."""

import sys

from front import main

if __name__ == "__main__":
    sys.exit(main())
