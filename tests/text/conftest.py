import sys
from pathlib import Path

# the plain Python reference and the strategies stand beside the tests, which are no package
sys.path.insert(0, str(Path(__file__).parent))
