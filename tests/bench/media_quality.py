"""PESQ (ITU-T P.862, narrowband) of what a gateway made of the speech that it was sent."""
import os

import numpy
from pesq import pesq


def pesq_of(name):
    """Of both directions of the first call, by where the audio arrived: at the browser, at the phone."""
    scores = []
    for end in (0, 1):
        heard, said = f"{name}-{end}.s16", f"{name}-{end}-sent.s16"
        if not os.path.exists(heard):
            return None
        scores.append(pesq(8000, numpy.fromfile(said, "<i2"), numpy.fromfile(heard, "<i2"), "nb"))
    return scores
