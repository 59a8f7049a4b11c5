from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.data.loading.step_sampler import StepSampler, split_evenly

samplers = st.builds(
    StepSampler,
    num_clips=st.integers(1, 200),
    batch_size=st.integers(1, 9),
    grad_accum_steps=st.integers(1, 4),
    seed=st.integers(0, 3),
    num_processes=st.integers(1, 5),
)


def shares_of(sampler, *, epoch=2):
    """The steps of an epoch, each as a list of forward passes, each as a list of what the processes read."""
    per_process = [replace(sampler, rank=rank).steps(epoch) for rank in range(sampler.num_processes)]
    return [list(zip(*(step.batches for step in of_step), strict=True)) for of_step in zip(*per_process, strict=True)]


@given(samplers)
def test_every_clip_is_seen_exactly_once(sampler):
    seen = [i for passes in shares_of(sampler) for shares in passes for share in shares for i in share]
    assert sorted(seen) == list(range(sampler.num_clips))


@given(samplers)
def test_every_process_knows_the_clips_of_all(sampler):
    shares = shares_of(sampler)
    for rank in range(sampler.num_processes):
        steps = replace(sampler, rank=rank).steps(2)
        assert [step.num_clips for step in steps] == [sum(len(s) for p in passes for s in p) for passes in shares]


@given(samplers, st.integers(1, 5))
def test_another_number_of_processes_keeps_the_steps_of_a_run_that_was_planned_for_some(sampler, num_now):
    now = replace(sampler, num_processes=num_now, num_planned=sampler.num_processes)
    assert (len(now), now.clips_per_step) == (len(sampler), sampler.clips_per_step)

    def passes_of(shares):
        return [[[clip for share in shares_of_pass for clip in share] for shares_of_pass in step] for step in shares]

    assert passes_of(shares_of(now)) == passes_of(shares_of(sampler))


@given(samplers)
def test_no_batch_is_larger_than_allowed_and_no_step_much_smaller_than_the_others(sampler):
    steps = shares_of(sampler)

    assert len(steps) == len(sampler)
    for passes in steps:
        assert 1 <= len(passes) <= sampler.grad_accum_steps
        for shares in passes:
            assert max(map(len, shares)) <= sampler.batch_size
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    sizes = [step.num_clips for step in sampler.steps(2)]
    assert max(sizes) - min(sizes) <= 1


@given(samplers)
def test_processes_share_what_one_process_reads_at_a_larger_batch(sampler):
    alone = replace(sampler, num_processes=1, batch_size=sampler.batch_size * sampler.num_processes)

    def passes(of):
        return [[sorted(i for share in shares for i in share) for shares in passes] for passes in shares_of(of)]

    assert passes(sampler) == passes(alone)


def test_a_process_without_clips_has_empty_batches():
    (step,) = StepSampler(1, batch_size=2, rank=1, num_processes=2).steps(0)
    assert (step.batches, step.num_clips) == (((),), 1)


def test_order_follows_from_seed_and_epoch():
    sampler = StepSampler(50, batch_size=4)

    assert sampler.steps(0) == replace(sampler).steps(0)
    assert sampler.steps(0) != sampler.steps(1)
    assert sampler.steps(0) != replace(sampler, seed=1).steps(0)


@pytest.mark.parametrize(
    ("rank", "num_processes", "batches"),
    [(0, 1, [(1, 6), (5, 2), (3, 0), (4,)]), (0, 2, [(1,), (5,), (3,), (4,)]), (1, 2, [(6,), (2,), (0,), ()])],
)
def test_the_order_is_that_of_version_0_1(rank, num_processes, batches):
    """So that its runs resume to the same weights."""
    sampler = StepSampler(
        7, batch_size=2 // num_processes, grad_accum_steps=2, seed=3, rank=rank, num_processes=num_processes
    )
    assert [batch for step in sampler.steps(1) for batch in step.batches] == batches


def test_split_evenly_keeps_the_order():
    assert split_evenly([1, 2, 3, 4, 5, 6, 7], 3) == [[1, 2, 3], [4, 5], [6, 7]]
    assert split_evenly([1], 3) == [[1], [], []]
