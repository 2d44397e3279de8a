"""Near-duplicate functions: exact copies by digest, near copies by locality-sensitive hashing, each pair verified.

`candidates` finds pairs whose sketches agree in a whole band; `similarity` then reads both functions again and
computes the exact Jaccard similarity of their shingles, so that chance never adds a pair to the result.
"""

import io
import tokenize
from collections import defaultdict
from functools import lru_cache
from itertools import combinations

import analysis

ROWS = 4  # bins in a band: pairs of similarity s are found with probability 1 - (1 - s**4)**16, 0.9998 at 0.8
BAND = 4 * ROWS  # bytes of a sketch in a band
ALIKE = 0.8


def copies(files):
    """Functions grouped by the digest of their words: [(file name, function), …] for each digest."""
    groups = defaultdict(list)
    for file in files:
        for function in file.functions:
            if function.body:
                groups[function.body].append((file.name, function))
    return list(groups.values())


def candidates(groups):
    """Pairs of groups that are probably alike, as [((path, line, end), (path, line, end), i, j), …]."""
    buckets = defaultdict(list)
    for number, group in enumerate(groups):
        sketch = group[0][1].sketch
        for at in range(0, len(sketch), BAND):
            buckets[at, sketch[at : at + BAND]].append(number)
    pairs = {pair for bucket in buckets.values() if len(bucket) > 1 for pair in combinations(bucket, 2)}
    places = [(name, function.line, function.end) for (name, function), *_ in groups]
    return [(places[i], places[j], i, j) for i, j in sorted(pairs) if not nested(places[i], places[j])]


def nested(one, other):
    """Whether one function stands inside the other: of course they are alike."""
    path, start, end = one
    return path == other[0] and start <= other[2] and other[1] <= end


def similarity(pair):
    """The exact Jaccard similarity of two functions: shared shingles by all shingles."""
    one, other = shingles(*pair[0]), shingles(*pair[1])
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared or 1)


@lru_cache(maxsize=4096)
def shingles(path, start, end):
    """The shingles of a function, as tuples of words, from its source."""
    text = "".join(source(path)[start - 1 : end])
    words, _ = analysis.normalise(tokenize.generate_tokens(io.StringIO(text).readline))
    return set(zip(*(words[i:] for i in range(analysis.SHINGLE))))


@lru_cache(maxsize=64)
def source(path):
    with tokenize.open(path) as stream:
        return stream.readlines()


def families(groups, pairs, similarities):
    """Groups that are alike, joined: [(members, lowest similarity that holds the family together), …]."""
    parent = list(range(len(groups)))

    def root(i):
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    weakest = {}
    for (_, _, i, j), alike in zip(pairs, similarities):
        if alike >= ALIKE:
            one, other = root(i), root(j)
            low = min(alike, weakest.get(one, 1.0), weakest.get(other, 1.0))
            parent[max(one, other)] = min(one, other)
            weakest[min(one, other)] = low
    joined = defaultdict(list)
    for number, group in enumerate(groups):
        joined[root(number)] += group
    found = [(members, weakest.get(number, 1.0)) for number, members in joined.items() if len(members) > 1]
    found.sort(key=lambda family: (-redundant(family[0]), family[0][0][:1]))
    return found


def redundant(members):
    """Tokens that one function for the whole family would save."""
    tokens = [function.tokens for _, function in members]
    return sum(tokens) - max(tokens)
