# Sourced by tests/run, which starts a server for all scripts, and by lib.sh, for a script alone.

# python_found: PY is a Python with msgpack and numpy
python_found() {
	for PY in /usr/bin/python3 python3; do
		"$PY" -c 'from importlib.util import find_spec as f
exit(not (f("msgpack") and f("numpy")))' 2>/dev/null && break
	done
}

# python_served FOLDER: a Python that has loaded numpy forks for each script, until this shell ends
# (py is its client: tests/py.c); T and R as in lib.sh
python_served() {
	DS_PYSERVER=$1/.py DS_PYSERVER_PATH=$T DS_PYSERVER_PYTHON=$PY
	export DS_PYSERVER DS_PYSERVER_PATH DS_PYSERVER_PYTHON
	(PYTHONPATH=$T PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 OPENBLAS_NUM_THREADS=1 \
	    MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=1000000000 \
	    DS_PYSERVER_FOR=$$ "$R/build/tests/py" --serve "$DS_PYSERVER" "$PY" "$T/pyserver.py" \
	    </dev/null >/dev/null 2>&1 &)
}
