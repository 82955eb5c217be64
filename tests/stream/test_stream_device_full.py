"""A device for the spool that is too small, or that others have filled: it is told, and a stop ends it."""

from stream_tools import drain, eventually, small_device, timeframe, write_ctf

from o2dask.stream.session import open_stream
from o2dask.stream.settings import StreamSettings


def test_a_device_that_cannot_hold_one_timeframe_ends_the_stream_with_the_reason(stream_client, tmp_path):
    ctf = write_ctf(tmp_path / "tf.ctf", 3, rows=8_000)
    with small_device(tmp_path / "shm", "600k") as more:
        if more is None:
            return  # no tmpfs may be mounted here
        settings = StreamSettings(source=f"replay:{ctf}", n_readouts=2, base=str(tmp_path / "shm"))
        with open_stream(stream_client, settings) as stream:
            stream.supervisor.start()
            eventually(stream.supervisor.check)
            why = stream.supervisor.check()
    assert "a timeframe takes" in why and "its device holds 0.6 MB; give another folder (--spool)" in why


def test_a_device_that_others_have_filled_is_told_and_used_when_there_is_room(stream_client, tmp_path):
    ctf = write_ctf(tmp_path / "tf.ctf", 3, rows=2_000)
    with small_device(tmp_path / "shm", "4m") as more:
        if more is None:
            return
        other, told = tmp_path / "shm/other", []
        other.write_bytes(bytes(3_900_000))
        settings = StreamSettings(source=f"replay:{ctf}", base=str(tmp_path / "shm"), max_bytes=1 << 30)
        with open_stream(stream_client, settings) as stream:
            stream.supervisor.listen(told.append)
            stream.supervisor.start()
            eventually(lambda: told)
            other.unlink()
            assert drain(stream) == [timeframe(i) for i in range(3)]
        (text,) = told
        assert "no room for a timeframe of 0." in text and text.endswith("waiting for others to make room")
        other.write_bytes(bytes(3_900_000))
        told.clear()
        with open_stream(stream_client, settings) as stream:
            stream.supervisor.listen(told.append)
            stream.supervisor.start()
            eventually(lambda: told)
            stream.supervisor.stop()
            assert drain(stream) == [], "a stop does not wait for room that nobody makes"
