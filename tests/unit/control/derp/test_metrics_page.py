from control.derp.metrics import DerpMetrics, DropReason
from control.derp.metrics_page import metrics_text


def test_ok__gauges_counters_and_labels() -> None:
    metrics = DerpMetrics()
    metrics.packets_received = 3
    metrics.drop(DropReason.QUEUE_HEAD, True)
    metrics.drop(DropReason.UNKNOWN_DEST, False)
    text = metrics_text({"current_connections": 2} | metrics.snapshot())
    assert "# TYPE waypost_derp_current_connections gauge\nwaypost_derp_current_connections 2\n" in text
    assert "# TYPE waypost_derp_packets_received counter\nwaypost_derp_packets_received 3\n" in text
    assert 'waypost_derp_packets_dropped{reason="queue_head",kind="disco"} 1\n' in text
    assert text.count("# TYPE waypost_derp_packets_dropped counter") == 1
