"""Tables as spreadsheets and people write them."""

from __future__ import annotations

import pytest

from service.measures.tables import Row, TableInvalid, read_table


def test_cells_are_read_as_they_were_written() -> None:
    table = read_table('name,notes\nAnn,"of\nthe night shift"\nB\u2028ob,5" tall\nEve\n')
    assert table.columns == ("name", "notes")
    assert table.rows == [
        Row(3, {"name": "Ann", "notes": "of\nthe night shift"}),
        Row(4, {"name": "B\u2028ob", "notes": '5" tall'}),
        Row(5, {"name": "Eve", "notes": None}),
    ]


def test_columns_of_one_name_are_refused_unless_they_have_none() -> None:
    with pytest.raises(TableInvalid, match="two columns are named image"):
        read_table("subject,image,image\nann,1.jpg,2.jpg\n")
    assert len(read_table("subject,image,,\nann,1.jpg,,\n").rows) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name,notes\nAnn,"off\nBob,on\n', "line 2 begins no row of CSV: unexpected end of data"),
        ('name,notes\nAnn,"off" duty\n', "line 2 begins no row of CSV: ',' expected"),
        ('name,"notes\n' + "x" * 200_000, "line 1 begins no row of CSV: field larger than"),
    ],
)
def test_a_quote_that_is_not_closed_swallows_nobody(text: str, said: str) -> None:
    with pytest.raises(TableInvalid, match=said):
        read_table(text)
