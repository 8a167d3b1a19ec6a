# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a wheel is larger than 5 MB, claims no manylinux platform, or holds files that nobody needs at run time."""

import sys
import zipfile
from pathlib import Path

LIMIT_MB = 5.0
NEEDED = {".py", ".pyi", ".so", ".npz", ".txt", ".typed"}
REQUIRED = {
    "cnnkern/__init__.py",
    "cnnkern/py.typed",
    "cnnkern/_core.pyi",
    "cnnkern/data/digits.npz",
    "cnnkern/models/imagenet.txt",
}

wheel = Path(sys.argv[1])
size = wheel.stat().st_size / 1e6
with zipfile.ZipFile(wheel) as archive:
    files = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}
ours = {name for name in files if name.startswith("cnnkern/")}
strange = sorted(name for name in ours if Path("x" + Path(name).name).suffix not in NEEDED)
licences = {Path(name).name for name in files if ".dist-info/licenses/" in name}
unpacked = sum(files.values()) / 1e6
print(f"{wheel.name}: {size:.2f} MB (at most {LIMIT_MB:.0f}), {unpacked:.2f} MB unpacked, {len(files)} files")

problems = []
if size > LIMIT_MB:
    problems.append("too large")
if "manylinux" not in wheel.name:
    problems.append("no manylinux platform in its name")
if strange:
    problems.append(f"files that nobody needs: {strange}")
if REQUIRED - ours:
    problems.append(f"missing: {sorted(REQUIRED - ours)}")
if licences != {"LICENSE", "NOTICE"}:
    problems.append(f"licences: {sorted(licences)}")
sys.exit("; ".join(problems) or 0)
