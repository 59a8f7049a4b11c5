"""Tables of results as text."""

from lsn.report.table import TableRow, cells


def row(name, published, *top1):
    return TableRow(name, f"{name}_resnet50", "16x1x1", published, top1, 36)


def test_what_was_published_stands_beside_what_was_measured():
    header, first, second = cells([row("lsn", 45.7, 44.0, 46.0), row("tsn", None, 20.04)])
    assert header == ("Row", "Model", "Frames x clips x crops", "Top-1", "Published", "Difference")
    assert first == ("lsn", "lsn_resnet50", "16x1x1", "45.0 (44.0 to 46.0)", "45.7", "-0.7")
    assert second == ("tsn", "tsn_resnet50", "16x1x1", "20.0", "", "")


def test_where_nothing_was_published_no_column_says_so():
    header, line = cells([row("lsn", None, 50.0)])
    assert header == ("Row", "Model", "Frames x clips x crops", "Top-1")
    assert line == ("lsn", "lsn_resnet50", "16x1x1", "50.0")
