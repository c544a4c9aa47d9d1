//! Where tensors live: chosen at run time, by name.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::{Device, DeviceKind, DeviceType, Tensor};
use codriver_gpu::{Gpu, GpuError};

use crate::ModelError;

/// The devices a model can be asked to run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    #[default]
    Cpu,
    /// Any GPU, through Vulkan, Metal or DirectX.
    Wgpu,
    /// NVIDIA GPUs; needs a build with the `cuda` feature.
    Cuda,
}

/// A name that is no device's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no device `{0}`; the devices are cpu, wgpu and cuda")]
pub struct UnknownDevice(pub String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name.to_ascii_lowercase().as_str() {
            "cpu" => Ok(Self::Cpu),
            "wgpu" | "gpu" | "vulkan" | "metal" => Ok(Self::Wgpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(UnknownDevice(name.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Opens a device, and computes something on it: a driver that is missing or broken shows here,
/// not in the middle of a model.
pub fn resolve(choice: DeviceChoice) -> Result<Device, ModelError> {
    let device = match choice {
        DeviceChoice::Cpu => return Ok(Device::flex()),
        DeviceChoice::Wgpu => Device::wgpu(DeviceKind::DefaultDevice),
        DeviceChoice::Cuda => cuda()?,
    };
    let probe = caught(|| Tensor::<1>::ones([2], &device).sum().try_into_scalar::<f32>());
    let failure = match probe {
        Ok(Ok(2.0)) => return Ok(device),
        Ok(Ok(wrong)) => format!("1 + 1 gave {wrong}"),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    if is_lost(&failure) {
        return Err(self::failure(&failure));
    }
    Err(ModelError::Unsupported(format!(
        "device {choice} does not work here ({failure}); `codriver doctor` lists the devices, and --device cpu always works"
    )))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, ModelError> {
    // Opening what is not there panics on a thread of the runtime's, and does not say why.
    if caught(|| Device::enumerate(DeviceType::Cuda).into_vec()).is_ok_and(|found| !found.is_empty()) {
        return Ok(Device::cuda(0));
    }
    Err(ModelError::Unsupported(
        "device cuda: no NVIDIA GPU answers here; it takes the GPU and its driver (libcuda, which `nvidia-smi` comes with). \
         --device wgpu and --device cpu do without"
            .to_string(),
    ))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Device, ModelError> {
    Err(ModelError::Unsupported(
        "device cuda: this build has no CUDA; build with `--features cuda`, or use --device wgpu".to_string(),
    ))
}

/// The GPU of a choice, for kernels of our own: the device that tensors of [`resolve`] are on. `None`
/// for the processor.
pub(crate) fn gpu(choice: DeviceChoice) -> Result<Option<Gpu>, ModelError> {
    let opened = match choice {
        DeviceChoice::Cpu => return Ok(None),
        DeviceChoice::Wgpu => caught(Gpu::wgpu),
        DeviceChoice::Cuda => caught(Gpu::cuda),
    };
    let gpu = opened.and_then(|gpu| gpu.map_err(|error| error.to_string()));
    gpu.map(Some).map_err(|reason| failure(&reason))
}

/// A line for people about each device this build can reach.
pub fn list() -> Vec<String> {
    let mut lines = vec![processor()];
    match caught(gpus) {
        Ok(gpus) if gpus.is_empty() => lines.push("wgpu: no GPU found".to_string()),
        Ok(gpus) => lines.extend(gpus),
        Err(panic) => lines.push(format!("wgpu: cannot be asked ({panic})")),
    }
    if cfg!(feature = "cuda") && !lines.iter().any(|line| line.starts_with("cuda:")) {
        lines.push("cuda: no NVIDIA GPU with its driver found".to_string());
    }
    lines
}

/// The line of [`list`] about a device.
pub fn describe(choice: DeviceChoice) -> String {
    if choice == DeviceChoice::Cpu {
        return processor();
    }
    let start = format!("{choice}:");
    list().into_iter().find(|line| line.starts_with(&start)).unwrap_or_else(|| choice.to_string())
}

fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default();
    let name = if brand.is_empty() { String::new() } else { format!("{brand}, ") };
    format!("cpu: {name}{threads} hardware threads")
}

fn gpus() -> Vec<String> {
    let kinds = [
        ("wgpu", DeviceType::Wgpu),
        #[cfg(feature = "cuda")]
        ("cuda", DeviceType::Cuda),
    ];
    let devices = |kind| Device::enumerate(kind).into_vec();
    let found = kinds.into_iter().flat_map(|(name, kind)| devices(kind).into_iter().map(move |device| (name, device)));
    let described = found.map(|(name, device)| match device.identity() {
        Some(identity) => format!("{name}: {}", identity.name),
        None => format!("{name}: {device:?}"),
    });
    described.collect()
}

/// A failure of a device, and what to do about it.
pub(crate) fn failure(reason: &str) -> ModelError {
    let lines = reason.lines().map(str::trim).take_while(|line| !line.starts_with("Backtrace"));
    let brief = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if !is_lost(reason) {
        return ModelError::Device(brief);
    }
    ModelError::Device(format!(
        "the GPU is lost, for its driver was reset or it was taken away ({brief}). Nothing else is lost, but this process \
         cannot have it back: choose the model on the processor with --device cpu, or restart to open the GPU anew"
    ))
}

/// Why a model is not loaded onto a GPU; [`ModelError::Unsupported`] is for what others could do with it.
pub(crate) fn unloadable(error: GpuError) -> ModelError {
    match error {
        GpuError::Device(reason) => failure(&reason),
        GpuError::Memory { .. } => ModelError::Device(format!(
            "{error} of the model; take a smaller one or one of fewer bits, end what else uses the GPU, or take --device cpu"
        )),
        other => ModelError::Unsupported(other.to_string()),
    }
}

/// Whether a failure says that a GPU will not compute again: cubecl calls its device poisoned then.
fn is_lost(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["device is lost", "device was lost", "device lost", "device is poisoned"]
        .iter()
        .any(|words| reason.contains(words))
}

/// Runs `work`; a panic in it (how GPU drivers report trouble through Burn) becomes its message.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message(panic.as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the backend panicked").to_string()
}
