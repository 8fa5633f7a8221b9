"""What every test starts from: one thread a process, the same on every machine."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Child processes (the command line) find no terminal width of whoever runs the tests.
os.environ["COLUMNS"] = "100"

from hypothesis import settings

# A busy machine is no bug: no deadlines; and the same examples every time.
settings.register_profile("atomprint", deadline=None, derandomize=True)
settings.load_profile("atomprint")
