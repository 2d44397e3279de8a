"""What the census finds out about one source file: ordinary sequential Python.

`analyse` reads a file and returns a small record. It knows nothing of pools: `map(analyse, files)` is the
serial census, `pool.map(analyse, files)` the parallel one.
"""

import ast
import hashlib
import io
import keyword
import tokenize
import warnings
import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

SHINGLE = 5  # tokens in a shingle
SKETCH = 64  # bins of a MinHash sketch
SMALLEST = 48  # functions of fewer tokens are alike by chance, and not looked at
MASK = (1 << 61) - 1
EMPTY = MASK + 1

# Files of the test suite contain deliberate mistakes; the compiler's opinion of them is not our business.
warnings.filterwarnings("ignore", category=SyntaxWarning)


class Function(NamedTuple):
    name: str
    line: int
    end: int
    complexity: int
    tokens: int
    body: bytes  # digest of the tokens: equal for exact copies; empty for small functions
    sketch: bytes  # MinHash sketch of the shingles, 4 bytes a bin; empty for small functions


class File(NamedTuple):
    name: str
    size: int
    lines: int
    comments: int
    tokens: int
    functions: list
    classes: int
    identifiers: dict
    error: str


def analyse(path):
    """Tokenise and parse one file and measure its functions."""
    with open(path, "rb") as stream:
        source = stream.read()
    lines = source.count(b"\n") + (not source.endswith(b"\n") and bool(source))
    try:
        tree = ast.parse(source, path)
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
        return File(path, len(source), lines, 0, 0, [], 0, {}, type(error).__name__)
    names = Counter(t.string for t in tokens if t.type == tokenize.NAME and not keyword.iskeyword(t.string))
    words, first_lines = normalise(tokens)
    functions, classes = [], 0
    for name, node in definitions(tree):
        if isinstance(node, ast.ClassDef):
            classes += 1
        else:
            functions.append(measure(name, node, words, first_lines))
    comments = sum(t.type == tokenize.COMMENT for t in tokens)
    return File(path, len(source), lines, comments, len(tokens), functions, classes, dict(names), "")


def definitions(tree):
    """Every function and class of a module with its dotted name, in the order of the source."""
    stack = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        for child in reversed(list(ast.iter_child_nodes(node))):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                stack.append((f"{prefix}{child.name}.", child))
            elif not isinstance(child, ast.expr):
                stack.append((prefix, child))
        if prefix and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix[:-1], node


BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.Assert, ast.match_case)


def complexity(function):
    """McCabe's cyclomatic complexity; what is defined inside counts for itself."""
    total, stack = 1, list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, BRANCHES):
            total += 1
        elif isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            total += 1 + len(node.ifs)
        stack.extend(ast.iter_child_nodes(node))
    return total


def normalise(tokens):
    """The words that count when two functions are compared, and the line each stands on.

    Comments, docstrings, blank lines and layout do not count, and one literal is as good as another.
    """
    words, lines = [], []
    opening = True  # at the start of a statement, where a string is a docstring
    for kind, string, (line, _), _, _ in tokens:
        if kind in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING):
            continue
        if kind == tokenize.NEWLINE:
            opening = True
            continue
        if kind == tokenize.STRING:
            if opening:
                continue
            string = '""'
        elif kind == tokenize.NUMBER:
            string = "0"
        opening = False
        words.append(string)
        lines.append(line)
    return words, lines


def measure(name, node, words, lines):
    """One function's entry in the census."""
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    own = words[bisect_left(lines, start) : bisect_left(lines, node.end_lineno + 1)]
    body, sketch = b"", b""
    if len(own) >= SMALLEST:
        body = hashlib.blake2b("\n".join(own).encode(), digest_size=8).digest()
        sketch = minhash(shingles(own))
    return Function(name, start, node.end_lineno, complexity(node), len(own), body, sketch)


_codes = {}


def shingles(words):
    """Hashes of every run of SHINGLE words. Python's own `hash` differs from process to process; this does not."""
    codes = []
    for word in words:
        code = _codes.get(word)
        if code is None:
            code = _codes[word] = zlib.crc32(word.encode()) * 0x9E3779B97F4A7C15 & MASK
        codes.append(code)
    found, value = set(), 0
    power = pow(31, SHINGLE, 1 << 61)
    for i, code in enumerate(codes):
        value = (value * 31 + code) & MASK
        if i >= SHINGLE:
            value = (value - codes[i - SHINGLE] * power) & MASK
        if i >= SHINGLE - 1:
            found.add((value ^ value >> 29) * 0xBF58476D1CE4E5B9 & MASK)
    return found


def minhash(hashes):
    """A MinHash sketch by one permutation: the smallest hash in each of SKETCH bins.

    Two sketches agree in a bin with the probability of their sets' Jaccard similarity. An empty bin borrows from
    another that a hash of its own number chooses, so that this stays true (optimal densification, Shrivastava 2017).
    """
    bins = [EMPTY] * SKETCH
    for value in hashes:
        slot = value >> 55
        if value < bins[slot]:
            bins[slot] = value
    filled = list(bins)
    for slot in range(SKETCH):
        attempt = slot
        while filled[slot] == EMPTY:
            attempt = (attempt * 0x5851F42D4C957F2D + 0x14057B7EF767814F) & MASK
            filled[slot] = bins[(attempt >> 40) % SKETCH]
    return array("I", [value & 0xFFFFFFFF for value in filled]).tobytes()
