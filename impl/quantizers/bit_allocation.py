"""How many bits each part of a product gets: an integer linear program, solved exactly."""

import math
from collections.abc import Sequence
from itertools import pairwise


def allocate_bits(variances: Sequence[float], bits: int, least: int, most: int) -> list[int]:
    """Return the bits y_m of parts with decreasing variances v_m that solve VAQ's program (paparrizos2022fast):

        maximise  sum_m v_m y_m
        with      sum_m y_m = B,   least <= y_m <= most,   y_m - y_{m+1} <= ceil(log2(v_m / v_{m+1}))

    The last condition ties neighbours only, so dynamic programming over (bits of the last part, bits spent) finds the
    optimum without a solver. Where variances differ, bits never rise from a part to the next. Among optima with equal
    variances the most even one is taken. A variance of 0 counts as 1e-12 of their sum.

    Args:
        variances: v_m, not negative, largest first.
        bits: B.
        least: of a part.
        most: of a part.

    Raises:
        ValueError: no parts, variances that rise, are negative or not finite, or B that M such parts cannot hold.
    """
    count = len(variances)
    if not count or not all(math.isfinite(v) and v >= 0 for v in variances):
        raise ValueError(
            f"variances must be at least one finite number that is not negative, got {list(variances)}."
        )
    if any(after > before for before, after in pairwise(variances)):
        raise ValueError(f"variances must be sorted, largest first, got {list(variances)}.")
    if not count * least <= bits <= count * most:
        raise ValueError(
            f"bits must be {count * least} to {count * most} for {count} parts of {least} to {most}, got {bits}."
        )
    total = math.fsum(variances) or 1.0
    shares = [max(variance / total, 1e-12) for variance in variances]
    gaps = [math.ceil(math.log2(a / b)) for a, b in pairwise(shares)]
    # (bits of the last part, bits spent) -> (what is maximised, evenness, the allocation so far)
    table = {(y, y): (shares[0] * y, -y * y, (y,)) for y in range(least, most + 1)}
    for index, (share, gap) in enumerate(zip(shares[1:], gaps, strict=True), start=2):
        grown: dict[tuple[int, int], tuple[float, int, tuple[int, ...]]] = {}
        left = count - index
        for (last, spent), (value, even, chosen) in table.items():
            for y in range(max(least, last - gap), most + 1):
                if not left * least <= bits - spent - y <= left * most:
                    continue
                # Rounded, so that equal variances make equal values.
                found = (round(value + share * y, 12), even - y * y, (*chosen, y))
                if found > grown.get((y, spent + y), (-1.0,)):
                    grown[y, spent + y] = found
        table = grown
    return list(max(found for (_, spent), found in table.items() if spent == bits)[2])
