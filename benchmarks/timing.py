"""Times calls that take turns, so that what else runs on the machine hurts all of them alike."""

import statistics
import time

import torch


def seconds(call, device):
    """Time of one call, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def cpu_seconds(call, device):
    """CPU time of one call; clock time on a GPU."""
    if device.type == "cuda":
        return seconds(call, device)
    started = time.process_time()
    call()
    return time.process_time() - started


def in_turn(calls, rounds, device, measure=seconds):
    """Times of every call by name, after a round that warms up."""
    times = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            taken = measure(call, device)
            if round_:
                times[name].append(taken)
    return times


def print_ratios(times, base):
    """A line for every call: its median, and the ratio to the median of ``base`` with quartiles; of 2 rounds up."""
    unit = statistics.median(times[base])
    print(f"{'':24} {'ms':>9} {'ratio':>7} {'quartiles':>16}")
    for name, values in times.items():
        low, _, high = (value / unit for value in statistics.quantiles(values, n=4))
        median = statistics.median(values)
        print(f"{name:24} {1000 * median:9.1f} {median / unit:7.3f} {f'{low:.3f}..{high:.3f}':>16}")
