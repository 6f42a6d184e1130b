from appliance.magicsock.loss import MIN_SAMPLES, SURVEY_INTERVAL, SURVEY_ROUNDS, WINDOW, LossRecord, Survey


def test_ok__share_needs_samples_and_forgives_one():
    record = LossRecord()
    for _ in range(MIN_SAMPLES - 1):
        record.note(True)
    assert record.share is None
    record.note(False)
    assert record.share == 0.0
    assert not record.suspicious
    record.note(False)
    assert record.share == 1 / (MIN_SAMPLES + 1)
    assert record.suspicious


def test_ok__old_fates_are_forgotten():
    record = LossRecord()
    for _ in range(WINDOW):
        record.note(False)
    assert record.share > 0.9
    for _ in range(WINDOW):
        record.note(True)
    assert record.share == 0.0
    record.clear()
    assert record.share is None


def test_ok__survey_has_rounds_and_rests():
    survey = Survey()
    assert not survey.due(0.0)
    survey.begin(0.0)
    now, rounds = 0.0, 0
    while survey.next_at is not None:
        now = survey.next_at
        assert survey.due(now)
        rounds += 1
        assert survey.first is (rounds == 1)
    assert (rounds, now) == (SURVEY_ROUNDS, (SURVEY_ROUNDS - 1) * 0.5)
    survey.begin(SURVEY_INTERVAL - 1)
    assert survey.next_at is None
    survey.begin(SURVEY_INTERVAL)
    assert survey.next_at == SURVEY_INTERVAL
    survey.stop()
    assert survey.next_at is None
