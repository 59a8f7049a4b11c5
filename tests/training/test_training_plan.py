from hypothesis import given
from hypothesis import strategies as st

from lsn.training.plan import count_steps, plan_epoch, split_evenly

sizes = st.fixed_dictionaries(
    {
        "num_clips": st.integers(1, 200),
        "batch_size": st.integers(1, 9),
        "grad_accum_steps": st.integers(1, 4),
        "num_processes": st.integers(1, 5),
    }
)


@given(sizes)
def test_every_clip_is_seen_exactly_once(arguments):
    steps = plan_epoch(**arguments, seed=1, epoch=2)

    seen = [i for step in steps for shares in step.shares for share in shares for i in share]
    assert sorted(seen) == list(range(arguments["num_clips"]))
    assert sum(step.num_clips for step in steps) == arguments["num_clips"]


@given(sizes)
def test_no_share_is_larger_than_the_batch_and_no_step_much_smaller_than_the_others(arguments):
    steps = plan_epoch(**arguments, seed=1, epoch=2)

    assert len(steps) == count_steps(**arguments)
    for step in steps:
        assert 1 <= len(step.shares) <= arguments["grad_accum_steps"]
        for shares in step.shares:
            assert len(shares) == arguments["num_processes"]
            assert max(map(len, shares)) <= arguments["batch_size"]
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert max(s.num_clips for s in steps) - min(s.num_clips for s in steps) <= 1


@given(sizes)
def test_processes_share_what_one_process_reads_at_a_larger_batch(arguments):
    num_processes = arguments["num_processes"]
    together = plan_epoch(**arguments, seed=3, epoch=0)
    alone = plan_epoch(
        **arguments | {"num_processes": 1, "batch_size": arguments["batch_size"] * num_processes}, seed=3, epoch=0
    )

    def passes(steps):
        return [[sorted(i for share in shares for i in share) for shares in step.shares] for step in steps]

    assert passes(together) == passes(alone)


def test_order_follows_from_seed_and_epoch():
    arguments = {"num_clips": 50, "batch_size": 4, "grad_accum_steps": 1, "num_processes": 1}
    first = plan_epoch(**arguments, seed=0, epoch=0)

    assert first == plan_epoch(**arguments, seed=0, epoch=0)
    assert first != plan_epoch(**arguments, seed=0, epoch=1)
    assert first != plan_epoch(**arguments, seed=1, epoch=0)


def test_split_evenly_keeps_the_order():
    assert split_evenly([1, 2, 3, 4, 5, 6, 7], 3) == [[1, 2, 3], [4, 5], [6, 7]]
    assert split_evenly([1], 3) == [[1], [], []]
