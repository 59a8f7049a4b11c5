from collections import Counter

import pytest
import torch

from lsn.distributed import World
from lsn.models import create_model
from lsn.training.carry import CarriedState, StatefulModel

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_model("lsn_ss_resnet10t", num_classes=3, num_frames=2, memory_stages=(3,), shift="causal").eval()


def numbered_state(model, batch_size):
    """A state whose every value in row n is n + 1."""
    empty = model.init_state(batch_size, 32, 32)
    return empty.map(lambda tensor: tensor + torch.arange(1, batch_size + 1).view(-1, *[1] * (tensor.ndim - 1)))


def rows_of(state):
    """The one value of each row, which must be the same in every tensor."""
    values = {tuple(tensor.flatten(1).amax(1).long().tolist()) for tensor in by_rows(state)}
    assert values == {tuple(tensor.flatten(1).amin(1).long().tolist()) for tensor in by_rows(state)}
    (rows,) = values
    return list(rows)


def by_rows(state):
    return [tensor.reshape(len(tensor), -1) for tensor in state.tensors().values()]


def carried(model, share, batch_size):
    memory = CarriedState(share, ALONE)
    memory.keep(numbered_state(model, batch_size))
    return memory


def test_before_the_first_pass_there_is_nothing(model):
    assert CarriedState(1.0, ALONE).draw(3) is None


def test_all_rows_are_handed_on_in_every_order(model):
    memory = carried(model, 1.0, 3)
    orders = {tuple(rows_of(memory.draw(3))) for _ in range(100)}
    assert orders == {(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)}


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7])
def test_another_number_of_clips_takes_each_row_equally_often(model, batch_size):
    counts = Counter(rows_of(carried(model, 1.0, 3).draw(batch_size)))
    assert sum(counts.values()) == batch_size
    assert set(counts.values()) <= {batch_size // 3, batch_size // 3 + 1}


def test_a_share_of_the_clips_starts_from_zeros(model):
    assert rows_of(carried(model, 0.0, 4).draw(4)) == [0] * 4
    drawn = [row for _ in range(100) for row in rows_of(carried(model, 0.25, 4).draw(4))]
    assert 0.15 < sum(row > 0 for row in drawn) / len(drawn) < 0.35
    assert set(drawn) == {0, 1, 2, 3, 4}


def test_the_seed_decides_what_is_drawn(model):
    memory = carried(model, 0.5, 8)

    def draw(seed):
        torch.manual_seed(seed)
        return rows_of(memory.draw(8))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_pass_without_clips_takes_no_row_and_leaves_none(model):
    memory = carried(model, 1.0, 2)
    with torch.no_grad():
        logits, state = StatefulModel(model)(torch.zeros(0, 2, 3, 32, 32), memory.draw(0))
    assert logits.shape == (0, 3)

    memory.keep(state)

    assert sorted(rows_of(memory.draw(2))) == [1, 2]


def test_what_is_saved_comes_back(model, tmp_path):
    memory, again = carried(model, 1.0, 3), CarriedState(1.0, ALONE)
    torch.save(memory.state_dict(), tmp_path / "carried.pt")
    again.load_state_dict(torch.load(tmp_path / "carried.pt", weights_only=True))

    torch.testing.assert_close(again.state.tensors(), memory.state.tensors(), rtol=0, atol=0)
    assert (again.state.height, again.state.width) == (32, 32)

    again.load_state_dict(CarriedState(1.0, ALONE).state_dict())
    assert again.draw(1) is None


def test_a_learner_answers_as_the_network_does():
    torch.manual_seed(1)
    clip = torch.randn(2, 4, 3, 32, 32)
    model = create_model("lsn_test_resnet", num_classes=3, num_frames=4, readout_frames=1).eval()
    answer_BK, state = StatefulModel(model)(clip, None)
    torch.testing.assert_close(answer_BK, model.step(clip)[0][:, -1])
    assert state.num_frames_B.tolist() == [4, 4], "the frames before are context"


def test_a_learner_goes_on_as_the_network_does_and_cuts_the_gradient(model):
    torch.manual_seed(1)
    clip = torch.randn(2, 4, 3, 32, 32)
    stateful_model = StatefulModel(model)

    first, state = stateful_model(clip[:, :3], None)
    second, _ = stateful_model(clip[:, 3:], state)

    expected = model.forward_frames(clip)
    torch.testing.assert_close(first, expected[:, :3].mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, expected[:, 3], rtol=1e-4, atol=1e-5)
    assert not any(tensor.requires_grad for tensor in state.tensors().values())
