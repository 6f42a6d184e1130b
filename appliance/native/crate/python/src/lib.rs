//! The thin boundary between Python and `waypost-packets`: borrows Python's buffers, gives the interpreter lock away
//! for the work, and makes Python objects of the results. The only unsafe code of the crates is in `buffers`.
#![deny(unsafe_code)]

mod buffers;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use waypost_packets::batch::Batch;
use waypost_packets::cut::{self, BadPacket, Offload, SLOT_OVERHEAD};
use waypost_packets::join::{Joiner, Packet};
use waypost_packets::transport;

use crate::buffers::{borrow, borrow_all_mut, borrow_mut};

/// Arena, runs of slots (begin, end, bytes from slot to slot), bytes of inner packets, packets that cannot be cut.
type Sealed<'py> = (Bound<'py, PyBytes>, Vec<(usize, usize, usize)>, usize, usize);
/// Begin and end in the arena, bytes and number of packets received, then gso_type, gso_size, header, csum_start.
type Item = (usize, usize, usize, usize, u8, usize, usize, usize);
/// Arena, items, (buffer, offset) where the run ended, (authentic bytes, data came), (replays, forged, bad inner).
type Received<'py> = (Bound<'py, PyBytes>, Vec<Item>, (usize, usize), (usize, bool), (u64, u64, u64));
/// A packet of the device: its bytes, gso_type, gso_size, header bytes, csum_start, csum_offset, needs a checksum.
type Device = (PyBuffer<u8>, u8, usize, usize, usize, usize, bool);

fn bad_packet(_: BadPacket) -> PyErr {
    PyValueError::new_err("not a packet that can be cut")
}

fn items(packets: &[Packet]) -> Vec<Item> {
    let mut begin = 0;
    let place = |packet: &Packet| {
        let at = begin;
        begin += packet.size;
        let offload = (packet.gso_type, packet.gso_size, packet.header, packet.csum_start);
        (at, begin, packet.received, packet.count, offload.0, offload.1, offload.2, offload.3)
    };
    packets.iter().map(place).collect()
}

/// Write joined packets into a new arena.
fn joined<'py>(py: Python<'py>, joiner: &Joiner<'_>) -> PyResult<(Bound<'py, PyBytes>, Vec<Item>)> {
    let mut packets = Vec::new();
    let arena = PyBytes::new_with(py, joiner.total(), |out| {
        packets = py.detach(|| joiner.write(out));
        Ok(())
    })?;
    Ok((arena, items(&packets)))
}

/// A key pair of one session; usable from several threads at once.
#[pyclass(frozen)]
struct Transport(transport::Transport);

#[pymethods]
impl Transport {
    #[new]
    fn new(send: [u8; 32], receive: [u8; 32], remote_index: u32, limit: u64, window_bits: usize) -> PyResult<Self> {
        transport::Transport::new(&send, &receive, remote_index, limit, window_bits)
            .map(Self)
            .ok_or_else(|| PyValueError::new_err("the window is a power of two of at least 128 bits"))
    }

    #[getter]
    fn sent(&self) -> u64 {
        self.0.sent()
    }

    fn room(&self, count: u64) -> bool {
        self.0.room(count)
    }

    fn may_open(&self, counter: u64) -> bool {
        self.0.may_open(counter)
    }

    fn seal_slots(&self, py: Python<'_>, mut slots: PyBuffer<u8>, stride: usize) -> PyResult<()> {
        let size = slots.len_bytes();
        if stride < SLOT_OVERHEAD || (size % stride != 0 && size % stride < SLOT_OVERHEAD) {
            return Err(PyValueError::new_err("a slot is too short"));
        }
        let first = self.reserve(size.div_ceil(stride))?;
        let slots = borrow_mut(&mut slots)?;
        py.detach(|| self.0.seal_slots(slots, stride, first));
        Ok(())
    }

    /// Decrypt one transport message in place; false when it is forged or a repetition.
    fn open(&self, py: Python<'_>, mut message: PyBuffer<u8>, counter: u64) -> PyResult<bool> {
        let message = borrow_mut(&mut message)?;
        Ok(py.detach(|| self.0.open(message, counter).is_some()))
    }

    /// Cut and seal what the device handed over, finishing checksums; `None` when the message limit forbids it.
    fn seal<'py>(&self, py: Python<'py>, packets: Vec<Device>, mtu: usize) -> PyResult<Option<Sealed<'py>>> {
        let mut parts = Vec::with_capacity(packets.len());
        for packet in &packets {
            parts.push((borrow(&packet.0)?, device_offload(packet)));
        }
        let batch = Batch::new(parts.into_iter(), mtu);
        let Ok(first) = self.0.reserve(batch.count as u64) else { return Ok(None) };
        let sealed = PyBytes::new_with(py, batch.total, |out| {
            py.detach(|| batch.seal(out, &self.0, first));
            Ok(())
        })?;
        let runs = batch.runs.iter().map(|run| (run.begin, run.end, run.stride)).collect();
        Ok(Some((sealed, runs, batch.payload, batch.bad)))
    }

    /// Open a run of messages of one receiver, see `transport::Transport::open_run`, and join what came.
    fn open_run<'py>(
        &self,
        py: Python<'py>,
        mut batches: Vec<(PyBuffer<u8>, usize)>,
        offset: usize,
        skip: usize,
        join: bool,
    ) -> PyResult<Received<'py>> {
        let mut buffers = borrow_all_mut(&mut batches)?;
        let (opened, joiner) = py.detach(|| {
            let opened = self.0.open_run(&mut buffers, offset, skip.min(64));
            let packets = opened.packets.iter().map(|(buffer, begin, end)| &buffers[*buffer].0[*begin..*end]);
            let joiner = Joiner::new(packets, join);
            (opened, joiner)
        });
        let (arena, items) = joined(py, &joiner)?;
        let dropped = (opened.replays, opened.forged, opened.bad_inner);
        Ok((arena, items, opened.stopped, (opened.authentic, opened.data), dropped))
    }
}

impl Transport {
    fn reserve(&self, count: usize) -> PyResult<u64> {
        let refused = |_| PyValueError::new_err("message limit of the key pair reached; ask room() first");
        self.0.reserve(count as u64).map_err(refused)
    }
}

fn offload_of((gso_type, gso_size, csum_start): (u8, usize, usize)) -> Offload {
    Offload { gso_type, gso_size, csum_start, csum_offset: 0 }
}

fn device_offload(packet: &Device) -> Offload {
    let &(_, gso_type, gso_size, _, csum_start, csum_offset, needs_checksum) = packet;
    let csum_start = if gso_size != 0 || needs_checksum { csum_start } else { 0 };
    Offload { gso_type, gso_size, csum_start, csum_offset }
}

/// A super-packet as unsealed slots, with their stride and the size of each segment. Raises `ValueError`.
#[pyfunction]
fn cut_super<'py>(
    py: Python<'py>,
    data: PyBuffer<u8>,
    offload: (u8, usize, usize),
    mtu: usize,
) -> PyResult<(Bound<'py, PyBytes>, usize, Vec<usize>)> {
    let data = borrow(&data)?;
    let plan = cut::plan(data, &offload_of(offload), mtu).map_err(bad_packet)?;
    let slots = PyBytes::new_with(py, plan.total, |out| {
        py.detach(|| cut::write_segments(data, &plan, out));
        Ok(())
    })?;
    let mut sizes = vec![plan.full; plan.count];
    sizes[plan.count - 1] = plan.last;
    Ok((slots, plan.stride, sizes))
}

/// Join neighbours of one flow; each packet is a whole IP packet without padding.
#[pyfunction]
fn join(py: Python<'_>, packets: Vec<PyBuffer<u8>>) -> PyResult<(Bound<'_, PyBytes>, Vec<Item>)> {
    let slices = packets.iter().map(borrow).collect::<PyResult<Vec<&[u8]>>>()?;
    let joiner = py.detach(|| Joiner::new(slices.iter().copied(), true));
    joined(py, &joiner)
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Transport>()?;
    module.add_function(wrap_pyfunction!(cut_super, module)?)?;
    module.add_function(wrap_pyfunction!(join, module)?)
}
