"""Astronomy-like pipeline: per-file reduce, per-filter stack, catalogue, cross-match."""

import time

FUNCTIONAL = ["flat", "reduce_frame", "stack", "catalogue", "match"]
ARGS = ({"r": [1, 2, 3, 4], "g": [5, 6, 7]},)
CALLS, IDEAL = 14, 5


def flat(band):
    time.sleep(0.02)
    return ord(band) % 7 + 1


def reduce_frame(frame, flat_value):
    time.sleep(0.02)
    return frame * 100 // flat_value


def stack(frames):
    time.sleep(0.02)
    return sum(frames) // len(frames)


def catalogue(image):
    time.sleep(0.02)
    return {image % k for k in range(2, 9)}


def match(a, b):
    time.sleep(0.02)
    return sorted(a & b)


def main(bands):
    cats, report = {}, []
    for band, frames in bands.items():
        ff = flat(band)
        reduced = []
        for fr in frames:
            reduced.append(reduce_frame(fr, ff))
        img = stack(reduced)
        cats[band] = catalogue(img)
        report.append((band, len(reduced), img))
    return match(cats["r"], cats["g"]), report
