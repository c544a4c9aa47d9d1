//! A GPU and its memory.

use std::fmt;
use std::ops::Deref;

use cubecl::Device;
use cubecl::client::Client;
use cubecl::device::{DeviceUnavailable, WgpuDeviceKind};
use cubecl::features::Plane;
use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::GpuError;
use crate::kernels::tiled;

/// A device that decoders run on. A clone is the same device.
#[derive(Clone)]
pub struct Gpu {
    pub(crate) client: Client,
    /// How many units reduce by plane operations; `None`: through shared memory.
    pub(crate) plane: Option<u32>,
    /// Whether products of many tokens are computed in tiles of shared memory.
    pub(crate) tiles: bool,
}

impl Gpu {
    /// A device, with the runtime and the memory that anything else on it uses too.
    pub fn new(device: &Device) -> Self {
        let client = device.client();
        let properties = client.properties();
        let hardware = &properties.hardware;
        let (least, most) = (hardware.plane_size_min, hardware.plane_size_max);
        let known = least == most && most.is_power_of_two() && (8..=64).contains(&most);
        let plane = (properties.features.plane.contains(Plane::Ops) && known).then_some(most);
        let tiles = tiled::fits(hardware);
        Self { client, plane, tiles }
    }

    /// The GPU that wgpu takes by default.
    pub fn wgpu() -> Result<Self, GpuError> {
        Self::opened(Device::wgpu(WgpuDeviceKind::DefaultDevice))
    }

    /// The first GPU that CUDA counts.
    pub fn cuda() -> Result<Self, GpuError> {
        let device = Device::cuda(0);
        // Opening what is not there panics on a thread of the runtime's.
        if let Ok(device) = &device
            && Device::enumerate(device.to_id()).is_empty()
        {
            return Err(GpuError::Device("no NVIDIA GPU answers; it takes its driver (libcuda), too".to_owned()));
        }
        Self::opened(device)
    }

    fn opened(device: Result<Device, DeviceUnavailable>) -> Result<Self, GpuError> {
        device.map(|device| Self::new(&device)).map_err(|error| GpuError::Device(error.to_string()))
    }

    /// The device without its plane operations: what those that have some are compared with.
    #[must_use]
    pub fn without_planes(self) -> Self {
        Self { plane: None, ..self }
    }

    /// The device without tiles of shared memory: what products with them are compared with.
    #[must_use]
    pub fn without_tiles(self) -> Self {
        Self { tiles: false, ..self }
    }

    /// What the runtime calls itself, and how units exchange values.
    pub fn describe(&self) -> String {
        match self.plane {
            Some(size) => format!("{}, planes of {size}", self.client.name()),
            None => format!("{}, without planes", self.client.name()),
        }
    }

    /// Bytes that one buffer can have.
    pub fn largest_buffer(&self) -> u64 {
        self.client.properties().memory.max_page_size
    }

    /// Bytes that the device's memory can hold, free or not; `None` where it does not say.
    pub fn memory(&self) -> Option<u64> {
        self.client.properties().memory.max_memory()
    }

    /// Units that reduce together.
    pub(crate) fn lanes(&self) -> u32 {
        self.plane.unwrap_or(32)
    }

    /// The numbers in memory of their own. Of no numbers a buffer of one: there are none without.
    pub(crate) fn words(&self, words: &[u32]) -> Result<Buffer, GpuError> {
        self.check(4 * words.len() as u64)?;
        let words = if words.is_empty() { &[0] } else { words };
        Ok(Buffer { handle: self.client.create_from_slice(u32::as_bytes(words)), length: words.len() })
    }

    pub(crate) fn floats(&self, values: &[f32]) -> Result<Buffer, GpuError> {
        self.check(4 * values.len() as u64)?;
        let values = if values.is_empty() { &[0.0] } else { values };
        Ok(Buffer { handle: self.client.create_from_slice(f32::as_bytes(values)), length: values.len() })
    }

    /// Room for `length` words, of which nothing is known.
    pub(crate) fn room(&self, length: usize) -> Result<Buffer, GpuError> {
        self.check(4 * length as u64)?;
        let length = length.max(1);
        Ok(Buffer { handle: self.client.empty(4 * length), length })
    }

    /// Reads numbers back, after everything that was launched before.
    pub(crate) fn read(&self, buffer: &Buffer) -> Result<Vec<f32>, GpuError> {
        Ok(f32::from_bytes(&self.read_bytes(buffer)?).to_vec())
    }

    pub(crate) fn read_words(&self, buffer: &Buffer) -> Result<Vec<u32>, GpuError> {
        Ok(u32::from_bytes(&self.read_bytes(buffer)?).to_vec())
    }

    fn read_bytes(&self, buffer: &Buffer) -> Result<impl Deref<Target = [u8]>, GpuError> {
        self.client.read_one(buffer.handle.clone()).map_err(|error| GpuError::Device(error.to_string()))
    }

    /// Whether there is memory behind the buffers. Their creation does not wait for it, and what is
    /// launched on one without memory is left out, with everything that depends on it.
    pub(crate) fn ensure(&self, buffers: &[&Buffer]) -> Result<(), GpuError> {
        let checked = self.client.check(buffers.iter().map(|buffer| &buffer.handle));
        checked.map_err(|error| match error.is_device_poisoned() {
            true => GpuError::Device(error.to_string()),
            false => GpuError::Memory { bytes: buffers.iter().map(|buffer| 4 * buffer.length as u64).sum() },
        })
    }

    fn check(&self, bytes: u64) -> Result<(), GpuError> {
        // Kernels count words in 32 bits.
        let largest = self.largest_buffer().min(4 * u64::from(u32::MAX));
        if bytes > largest { Err(GpuError::Buffer { bytes, largest }) } else { Ok(()) }
    }
}

/// Words of 32 bits on a device.
#[derive(Clone)]
pub(crate) struct Buffer {
    pub(crate) handle: Handle,
    pub(crate) length: usize,
}

impl Buffer {
    /// The buffer as a kernel's argument, in vectors of `width` words.
    pub(crate) fn vectors(&self, width: usize) -> BufferArg {
        // SAFETY: the handle has `length` words, from its creation on.
        unsafe { BufferArg::from_raw_parts(self.handle.clone(), self.length / width) }
    }

    pub(crate) fn arg(&self) -> BufferArg {
        self.vectors(1)
    }

    /// Some of the buffer's words.
    pub(crate) fn part(&self, start: usize, length: usize) -> Self {
        let after = self.length.saturating_sub(start + length);
        let handle = self.handle.clone().offset_start(4 * start as u64).offset_end(4 * after as u64);
        Self { handle, length }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} words", self.length)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe())
    }
}
