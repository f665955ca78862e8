"""`python -m proof.guessing docs/proof/guessing.json`: the figures at full size."""

import sys
from pathlib import Path

from proof.guessing.figures import read, table, write

path = Path(sys.argv[1])
write(path)
print("\n".join(table(read(path))))
