"""Every file of a corpus of broken files gives one clear error, or rows and rejects, read whole or
in pieces.
"""

import pytest
from broken_files import BROKEN_FILES, LINES
from log_files import read_file

from features.errors import FunnelError
from pipeline.sources import pieces as formats


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file(tmp_path, name):
    broken = BROKEN_FILES[name]
    path = tmp_path / broken.name
    path.write_bytes(broken.data)
    if broken.error is not None:
        with pytest.raises(FunnelError, match=broken.error) as raised:
            read_file(path, **broken.stream)
        assert "\n" not in str(raised.value)
        return
    rows, rejected, _ = read_file(path, **broken.stream)
    assert [row["id"] for row in rows.values()] == broken.ids
    assert dict(rejected) == broken.rejects


@pytest.mark.parametrize("name", [name for name, broken in LINES.items() if broken.data])
def test_a_broken_file_in_pieces(tmp_path, monkeypatch, name):
    monkeypatch.setattr(formats, "PIECE_BYTES", 9)
    broken = LINES[name]
    path = tmp_path / broken.name
    path.write_bytes(broken.data[:10_000])
    rows, rejected, _ = read_file(path, **broken.stream)
    if len(broken.data) < 10_000:
        assert [row["id"] for row in rows.values()] == broken.ids
        assert [reason for _, reason in rejected] == list(broken.rejects.values())
