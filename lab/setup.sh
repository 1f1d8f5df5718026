#!/bin/sh
# Finds a Python that fits and lets it build .venv (lab/bootstrap.py). PYTHON names another one.
cd "$(dirname "$0")/.." || exit 1
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if fits "$python"; then exec "$python" -B lab/bootstrap.py; fi
done
echo "Needed: Python 3.11, 3.12 or 3.13; ${PYTHON:-python3} is none of them or is missing." \
    "Install one (apt-get install python3), or name it: make setup PYTHON=/path/to/python3" >&2
exit 1
