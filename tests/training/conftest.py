import sys
from pathlib import Path

# worlds.py is shared by the tests of this folder and by the script that they start in other processes
sys.path.insert(0, str(Path(__file__).parent))
