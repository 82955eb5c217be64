"""The page of the demo stands alone: it can be sent to somebody without the folder of pictures."""

from base64 import b64encode

from o2dask.reco.demo.report import write_report


def test_the_page_holds_its_pictures_and_what_it_is_told_is_text(tmp_path):
    picture = tmp_path / "pulls.png"
    picture.write_bytes(b"\x89PNG and more")
    page = write_report(tmp_path / "r.html", {"rate": "<2 %"}, {"y": (0.01, 1.02)}, {"Pulls & co": picture})
    text = page.read_text()
    assert f'<figure class="wide"><img src="data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"' in text
    assert 'src="' in text and 'src="p' not in text, "nothing is linked"
    assert "&lt;2 %" in text and "Pulls &amp; co" in text and "1.02" in text
