"""dill's own table of objects, one of each type it knows of: what it can pickle Ergon can, and most of what it cannot."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

VERSION = "0.4.1"

# What dill pickles and Ergon does not: a file to be written that has no name (dill's arrives as a file of another process's number).
ONLY_DILL = {"TemporaryFileType": "not opened for reading"}

# What nobody can take along, and a word of the reason.
REFUSED = {
    "CSVReaderType": "file of this process",
    "CSVDictReaderType": "file of this process",
    "CSVWriterType": "file of this process",
    "CSVDictWriterType": "file of this process",
    "SocketType": "connection of this process",
    "SocketPairType": "connection of this process",
    "ConnectionType": "belongs to this process",
    "FrameType": "belongs to the thread",
    "TracebackType": "frames",
    "SREMatchType": "the text it was found in",
    "HashType": "cannot be read out",
    "HMACType": "cannot be read out",
    "ZlibCompressType": "cannot be read out",
    "ZlibDecompressType": "cannot be read out",
    "StreamReader": "can't serialize",
    "SREScannerType": "its type says nothing",
    "CallableIteratorType": "its type says nothing",  # of a scanner
    "SymtableEntryType": "its type says nothing",
    "LineIteratorType": "its type says nothing",
    "PositionsIteratorType": "its type says nothing",
    "MemoryIteratorType": "its type says nothing",
    "BZ2CompressorType": "its type says nothing",
    "BZ2DecompressorType": "its type says nothing",
}
# Addresses.
POINTERS = """CCharPType CWCharPType CVoidPType CDLLType PyDLLType FuncPtrType CParamType LPCCharType NullPtrType NullPyObjectType
    PyObjectType FieldType CFunctionType""".split()

PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import ergon.pickle as ep
from dill import _objects

found = {}
for kind in ("registered", "succeeds", "failures"):
    for name, made in getattr(_objects, kind).items():
        try:
            data = ep.dumps([made])
        except Exception as error:
            found[name] = kind, f"{type(error).__name__}: {error}", ""
            continue
        back = ep.loads(data)[0]
        found[name] = kind, "", "" if type(back) is type(made) else type(back).__name__
print(json.dumps(found))
"""


def test_dills_objects(peer_package, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={"PYTHONPATH": str(peer_package("dill", VERSION)), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) > 200
    refused = {name: error for name, (_, error, _) in found.items() if error}
    wrong = {
        name: error
        for name, error in refused.items()
        if name not in POINTERS and {**ONLY_DILL, **REFUSED}.get(name, "no reason") not in error
    }
    assert not wrong and set(POINTERS) <= set(refused)
    assert {name for name in refused if found[name][0] != "failures"} <= {*ONLY_DILL, *POINTERS}
    # Iterators over what has no order, or may change, arrive as iterators over what was left; a file in memory; a proxy
    # of what the stream has not had as the object.
    others = {name: back for name, (_, _, back) in found.items() if back and back != "list_iterator"}
    assert others == {"FileType": "BytesIO", "ProxyType": "_class", "CallableProxyType": "_class2"}
