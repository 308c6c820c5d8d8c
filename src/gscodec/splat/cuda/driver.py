"""One NVIDIA GPU through its driver: memory, copies, launches; errors become BackendError.

cuda.bindings only, neither torch nor cuda.core: both take longer to import than a short clip to decode.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from cuda.bindings import driver

from gscodec.errors import BackendError
from gscodec.splat import _native
from gscodec.splat.cuda.compile import machine_code
from gscodec.splat.cuda.params import THREADS

MIN_CAPABILITY = 75  # Turing: the oldest that NVRTC 13 compiles for
ALIGNMENT = 256


class Device:
    """A GPU's primary context, shared with torch and others in this process."""

    def __init__(self, ordinal: int) -> None:
        try:
            check(driver.cuInit(0))
            n_devices = check(driver.cuDeviceGetCount())
        except (BackendError, RuntimeError) as error:  # RuntimeError: no libcuda on this machine
            raise BackendError(
                f"no usable NVIDIA driver ({error}); install one (580 or newer for CUDA 13), "
                "or take --backend cpu"
            ) from error
        if ordinal >= n_devices:
            raise BackendError(f"GPU {ordinal} is not there, found {n_devices}; see nvidia-smi --list-gpus")
        self.ordinal = ordinal
        self._handle = check(driver.cuDeviceGet(ordinal))
        self.name: str = check(driver.cuDeviceGetName(256, self._handle)).split(b"\0")[0].decode()
        attribute = driver.CUdevice_attribute
        self.capability = 10 * self._attribute(
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        ) + self._attribute(attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
        if self.capability < MIN_CAPABILITY:
            raise BackendError(
                f"{self.name} has compute capability {self.capability / 10}, needed is "
                f"{MIN_CAPABILITY / 10} (Turing, 2018); take --backend cpu"
            )
        self.n_multiprocessors = self._attribute(attribute.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
        self._driver_version: int = check(driver.cuDriverGetVersion())
        self._context = check(driver.cuDevicePrimaryCtxRetain(self._handle))
        self.context = int(self._context)
        self._kernels: dict[tuple[Any, ...], int] = {}
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._resident: dict[int, int] = {}

    def make_current(self) -> None:
        """Every thread needs it before the driver's calls that `Workspace` does not make for it."""
        check(driver.cuCtxSetCurrent(self._context))

    def kernel(self, source: str, name: str, **defines: int) -> int:
        """The kernel `name` of csrc/`source`.cu with macros GSCODEC_*; compiled at first use."""
        key = (name, source, *defines.items())
        known = self._kernels.get(key)
        return known if known is not None else self._load(key, source, name, **defines)

    def prepare(self, sources: Sequence[tuple[str, dict[str, int]]]) -> None:
        """Compile sources that will be needed, with their macros, side by side: each takes seconds."""
        missing = [
            (source, defines) for source, defines in sources if _variant(source, defines) not in self._modules
        ]
        if missing:
            with ThreadPoolExecutor(len(missing)) as pool:
                list(pool.map(lambda one: self._module(*one), missing))

    def _load(self, key: tuple[Any, ...], source: str, name: str, **defines: int) -> int:
        module = self._module(source, defines)
        self._kernels[key] = int(check(driver.cuModuleGetFunction(module, name.encode())))
        return self._kernels[key]

    def _module(self, source: str, defines: dict[str, int]) -> Any:
        self.make_current()
        variant = _variant(source, defines)
        if variant not in self._modules:
            code = machine_code(source, f"sm_{self.capability}", self._driver_version, **defines)
            self._modules[variant] = check(driver.cuModuleLoadData(code))
        return self._modules[variant]

    def resident_blocks(self, kernel: int) -> int:
        """Blocks of a kernel that the whole card holds at a time; never 0.

        Raises:
            BackendError: not a single one.
        """
        known = self._resident.get(kernel)
        if known is None:
            self.make_current()
            per = check(driver.cuOccupancyMaxActiveBlocksPerMultiprocessor(kernel, THREADS, 0))
            known = self._resident[kernel] = int(per) * self.n_multiprocessors
            if known == 0:
                raise BackendError(f"{self.name} cannot hold a block of the kernels; take --backend cpu")
        return known

    def _attribute(self, attribute: Any) -> int:
        return int(check(driver.cuDeviceGetAttribute(attribute, self._handle)))


class Workspace:
    """A stream and its memory: named buffers that grow and are never handed back before the end.

    Copies and launches are only written down; `wait`, or `flush`, hands them to the driver all at once. Host
    arrays pass through page-locked memory; what was put there may be overwritten after `wait`.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        device.make_current()
        self._stream = check(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self._queue = _native.CommandQueue(device.context, int(self._stream))
        self._buffers: dict[str, Buffer] = {}
        self._spares: dict[int, list[int]] = {}
        self._staging = np.empty(0, np.uint8)
        self._staging_address = self._staged = 0
        self._sources: list[np.ndarray] = []  # of copies that are written down
        self._retired: list[np.ndarray] = []

    def buffer(self, name: str, n_bytes: int) -> int:
        """Address of the buffer `name`, at least `n_bytes` long; contents are lost when it grows."""
        known = self._buffers.get(name)
        if known is None or known.n_bytes < n_bytes:
            if known is not None:
                self.wait()
                self._buffers.pop(name).free()
            known = self._buffers[name] = Buffer(self.device, n_bytes + n_bytes // 8)
        return known.address

    def take(self, n_bytes: int) -> Buffer:
        """A buffer for a caller to keep; its memory is used again when the caller lets go."""
        return Buffer(self.device, n_bytes, self._spares)

    def upload(self, name: str, array: np.ndarray) -> int:
        """Copy an array to the buffer `name`; its address. It must not change before `flush` or `wait`.

        A page-locked one must not change before `wait`.
        """
        address = self.buffer(name, array.nbytes)
        array = np.ascontiguousarray(array)
        if _is_pinned(array):
            self._sources.append(array)
            self._queue.send(address, _address(array), array.nbytes)
        else:
            self.send(address, [array])
        return address

    def upload_all(self, name: str, arrays: dict[str, tuple[np.ndarray, Any]]) -> dict[str, int]:
        """Copy arrays, each as the given dtype, to the buffer `name` in one piece; address of each.

        They must not change before `flush` or `wait`.
        """
        parts = [np.ascontiguousarray(array, dtype) for array, dtype in arrays.values()]
        address = self.buffer(name, sum(_aligned(part.nbytes) for part in parts))
        places, end = {}, address
        for key, part in zip(arrays, parts, strict=True):
            places[key] = end
            end += _aligned(part.nbytes)
        self.send(address, parts, ALIGNMENT)
        return places

    def send(self, address: int, parts: Sequence[np.ndarray], alignment: int = 1) -> None:
        """Copy contiguous arrays to the device in one piece; they must not change before the next run."""
        n_bytes = sum(_aligned(part.nbytes, alignment) for part in parts)
        begin = end = self._stage(n_bytes)
        for part in parts:
            self._queue.copy(end, _address(part), part.nbytes)
            end += _aligned(part.nbytes, alignment)
        self._sources += parts
        self._queue.send(address, begin, n_bytes)

    def download(self, address: int, like: np.ndarray) -> np.ndarray:
        """Copy from the device into page-locked memory shaped `like`; valid from `wait` to the next use."""
        host = self._stage(like.nbytes)
        self._queue.fetch(host, address, like.nbytes)
        begin = host - self._staging_address
        return self._staging[begin : begin + like.nbytes].view(like.dtype).reshape(like.shape)

    def zero(self, address: int, n_bytes: int) -> None:
        self._queue.zero(address, n_bytes)

    def launch(
        self, kernel: int, grid: tuple[int, int], params: ctypes.Structure, *, cooperative: bool = False
    ) -> None:
        """Run a kernel whose only parameter is a struct, which is copied."""
        address, n_bytes = ctypes.addressof(params), ctypes.sizeof(params)
        self._queue.launch(kernel, *grid, THREADS, address, n_bytes, cooperative)

    def flush(self) -> None:
        """Have the device begin with what was asked for so far."""
        self._run(False)

    def wait(self) -> None:
        """Until everything asked for is done."""
        self._run(True)
        self._staged = 0
        self._retired.clear()

    def _run(self, wait: bool) -> None:
        status = self._queue.run(wait)
        self._sources.clear()
        if status:
            check((driver.CUresult(status),))

    def record(self) -> Any:
        """A point in the stream's time."""
        self.device.make_current()
        self.flush()
        event = check(driver.cuEventCreate(0))
        check(driver.cuEventRecord(event, self._stream))
        return event

    def seconds_between(self, start: Any, end: Any) -> float:
        """Device time between two recorded points; waits for the second."""
        check(driver.cuEventSynchronize(end))
        return float(check(driver.cuEventElapsedTime(start, end))) / 1e3

    def _stage(self, n_bytes: int) -> int:
        """Address of page-locked bytes that nobody else uses until `wait`."""
        n_bytes = _aligned(n_bytes)
        if self._staged + n_bytes > self._staging.size:
            self._retired.append(self._staging)  # copies may still use it
            self.device.make_current()
            self._staging = pinned_array(2 * (self._staged + n_bytes), np.uint8)
            self._staging_address, self._staged = _address(self._staging), 0
        self._staged += n_bytes
        return self._staging_address + self._staged - n_bytes


class Buffer:
    """Device memory that lives as long as this object."""

    def __init__(self, device: Device, n_bytes: int, spares: dict[int, list[int]] | None = None) -> None:
        """`spares`: addresses by size, from where memory is taken and where it goes back to."""
        self.device, self.n_bytes, self._spares = device, max(ALIGNMENT, n_bytes), spares
        if spares and spares.get(self.n_bytes):
            self.address = spares[self.n_bytes].pop()
            return
        device.make_current()
        try:
            self.address = int(check(driver.cuMemAlloc(self.n_bytes)))
        except BackendError as error:
            raise BackendError(
                f"{device.name} has no {self.n_bytes / 2**20:.0f} MiB free ({error}); fit fewer pictures at "
                "a time, or take --backend cpu"
            ) from error

    def free(self) -> None:
        """Hand the memory back to the driver."""
        address, self.address = self.address, 0
        if address:
            self.device.make_current()
            driver.cuMemFree(address)

    def __del__(self) -> None:
        if not getattr(self, "address", 0):
            return
        if self._spares is None:
            self.free()
        else:
            self._spares.setdefault(self.n_bytes, []).append(self.address)


class _PinnedMemory:
    """Page-locked host memory, freed with the last array that views it."""

    def __init__(self, n_bytes: int) -> None:
        self._address = int(check(driver.cuMemAllocHost(max(1, n_bytes))))
        self.__array_interface__ = {
            "shape": (n_bytes,),
            "typestr": "|u1",
            "data": (self._address, False),
            "version": 3,
        }

    def __del__(self) -> None:
        if getattr(self, "_address", 0):
            driver.cuMemFreeHost(self._address)


def pinned_array(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array in page-locked memory: the card copies from and to it several times faster."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.asarray(_PinnedMemory(n_bytes)).view(dtype).reshape(shape)


def _variant(source: str, defines: dict[str, int]) -> tuple[Any, ...]:
    return source, *sorted(defines.items())


def _aligned(n_bytes: int, alignment: int = ALIGNMENT) -> int:
    return -(-n_bytes // alignment) * alignment


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _is_pinned(array: np.ndarray) -> bool:
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, _PinnedMemory)


@cache
def device(ordinal: int = 0) -> Device:
    """The GPU of a number, as CUDA_VISIBLE_DEVICES leaves them.

    Raises:
        BackendError: no driver, no such GPU, or one that is too old.
    """
    return Device(ordinal)


def n_devices() -> int:
    """GPUs that this process may use; 0 without a driver."""
    try:
        check(driver.cuInit(0))
        return int(check(driver.cuDeviceGetCount()))
    except (BackendError, RuntimeError):
        return 0


def check(result: tuple[Any, ...]) -> Any:
    """The value of a driver call.

    Raises:
        BackendError: the call failed; carries the driver's name for it.
    """
    status, *values = result
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        detail = text.decode() if isinstance(text, bytes) else "unknown error"
        raise BackendError(f"CUDA: {detail} ({getattr(status, 'name', status)})")
    return values[0] if len(values) == 1 else tuple(values) if values else None
