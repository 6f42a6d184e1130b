from appliance.magicsock.hard_nat.questions import PATIENCE_S, SOCKETS, Questions
from appliance.magicsock.outbox import CloseSockets, OpenSockets, SendDatagram
from appliance.ports.side_ports import SideSocket
from appliance.proto.disco import NatMapping, PortRule
from appliance.proto.stun import BindingResponse, parse_request
from appliance.types.addresses import AddrPort

SERVERS = (AddrPort("203.0.113.1", 3478), AddrPort("203.0.113.2", 3478))
OURS = [SideSocket(number, 50000 + number) for number in range(1, SOCKETS + 1)]


def actions(rig):
    taken = []
    while (action := rig.context.outbox.next_action()) is not None:
        taken.append(action)
    return taken


def begin(rig):
    questions = Questions(rig.context.outbox, SERVERS, 1.0)
    assert actions(rig) == [OpenSockets(SOCKETS)]
    questions.receive_sockets(OURS, 1.0)
    sent = actions(rig)
    assert [(s.socket, s.to) for s in sent] == [(o.number, server) for o in OURS for server in SERVERS]
    return questions, sent


def answer(questions, sent: SendDatagram):
    mapped = AddrPort("198.51.100.1", 50000 + sent.socket)
    return questions.receive(BindingResponse(parse_request(sent.data), mapped))


def test_ok__all_answers_end_the_round(rig):
    questions, sent = begin(rig)
    assert questions.owns(1)
    assert not questions.owns(99)
    assert all(answer(questions, each) for each in sent)
    assert questions.next_at is None
    found = questions.result
    assert (found.mapping, found.rule) == (NatMapping.ENDPOINT_INDEPENDENT, PortRule.PRESERVING)
    assert actions(rig) == [CloseSockets(tuple(o.number for o in OURS))]
    assert not answer(questions, sent[0]), "each answer counts once"


def test_ok__lost_questions_are_asked_again(rig):
    questions, sent = begin(rig)
    for each in sent[2:]:
        answer(questions, each)
    questions.handle_timer(1.0 + PATIENCE_S / 2)
    again = actions(rig)
    assert [(s.socket, s.to) for s in again] == [(s.socket, s.to) for s in sent[:2]]
    questions.handle_timer(1.0 + PATIENCE_S)
    assert questions.next_at is None
    assert questions.result is not None


def test_fail__no_sockets_no_answers(rig):
    questions = Questions(rig.context.outbox, SERVERS, 1.0)
    actions(rig)
    questions.receive_sockets((), 1.0)
    assert questions.next_at is None
    assert questions.result is None
    assert actions(rig) == []
