"""100 recipes, manifests and lists of labels that are wrong: a sound object, or an error of LSN."""

import pytest
from suite import check, part_name, parts
from text_cases import NUM_CASES, make_case, read

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("numbers", parts(NUM_CASES), ids=part_name)
def test_texts(numbers, bounded, tmp_path):
    check(numbers, folder=tmp_path, make=make_case, bounded=bounded, function=read)
