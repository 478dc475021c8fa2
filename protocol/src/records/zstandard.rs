//! Zstandard, at level 3 unless asked for another, as a stream without content size and checksum, as Kafka writes it.
//!
//! A context is some hundred kilobytes of tables, so each thread keeps one of either kind for the
//! next batch, unless a frame with a large window made it grow.

use std::cell::RefCell;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, compress_bound,
    get_frame_content_size,
};

use super::error::DecompressError;

/// What Kafka's `compression.zstd.level` is by default.
pub const LEVEL: i32 = 3;
/// The largest window that is written: 1 MiB, for a batch is seldom longer. It bounds the memory of the
/// highest levels, too: some 20 MiB, where their own window would take 700.
const WINDOW_LOG: u32 = 20;
/// The largest window a frame may ask for: 8 MiB.
pub const WINDOW_LOG_MAX: u32 = 23;
/// A context above this is freed after use.
const KEPT_BYTES_MAX: usize = 4 << 20;

thread_local! {
    static COMPRESSOR: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Writes one frame.
pub(super) struct ZstdWriter {
    context: Option<CCtx<'static>>,
}

impl ZstdWriter {
    pub(super) fn new(level: Option<i32>) -> ZstdWriter {
        let mut context = COMPRESSOR.take().unwrap_or_else(CCtx::create);
        let level = level.unwrap_or(LEVEL);
        // From here on the levels would take larger windows for input of unknown length.
        let window_log = if level < LEVEL { 0 } else { WINDOW_LOG };
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(window_log),
            CParameter::ContentSizeFlag(false),
        ] {
            context
                .set_parameter(parameter)
                .expect("between frames, every parameter of these may be set");
        }
        ZstdWriter {
            context: Some(context),
        }
    }

    /// Compresses all of `piece`; `out` gets what is ready, after the last piece everything.
    pub(super) fn write(&mut self, piece: &[u8], is_last: bool, out: &mut Vec<u8>) {
        let context = self.context.as_mut().expect("kept until the drop");
        let end = match is_last {
            true => ZSTD_EndDirective::ZSTD_e_end,
            false => ZSTD_EndDirective::ZSTD_e_continue,
        };
        let mut input = InBuffer::around(piece);
        out.reserve(compress_bound(piece.len()));
        loop {
            let at = out.len();
            let mut output = OutBuffer::around_pos(out, at);
            let left = context
                .compress_stream2(&mut output, &mut input, end)
                .expect("the context is set up and has memory");
            let is_done = if is_last {
                left == 0
            } else {
                input.pos() == piece.len()
            };
            if is_done {
                return;
            }
            out.reserve(CCtx::out_size());
        }
    }
}

impl Drop for ZstdWriter {
    fn drop(&mut self) {
        let Some(mut context) = self.context.take() else {
            return;
        };
        let clean = context.reset(ResetDirective::SessionOnly).is_ok();
        if clean && context.sizeof() <= KEPT_BYTES_MAX {
            COMPRESSOR.set(Some(context));
        }
    }
}

/// Reads frames, one after the other.
pub(super) struct ZstdStream<'a> {
    rest: &'a [u8],
    context: Option<DCtx<'static>>,
    /// Whether the next byte begins a frame.
    between_frames: bool,
    is_empty: bool,
    /// What is still to come of this frame, if it says how large it is.
    announced: Option<u64>,
}

impl<'a> ZstdStream<'a> {
    pub(super) fn new(compressed: &'a [u8]) -> Self {
        let context = DECOMPRESSOR.take().unwrap_or_else(|| {
            let mut context = DCtx::create();
            context
                .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                .expect("the window is one that zstd knows");
            context
        });
        ZstdStream {
            rest: compressed,
            context: Some(context),
            between_frames: true,
            is_empty: compressed.is_empty(),
            announced: None,
        }
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        if self.is_empty {
            return Err(DecompressError::Corrupt("no zstd frame"));
        }
        loop {
            if self.between_frames {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
            }
            let produced = self.step(out)?;
            if produced > 0 {
                return Ok(produced);
            }
            if self.rest.is_empty() && !self.between_frames {
                return Err(DecompressError::Corrupt("zstd frame is incomplete"));
            }
        }
    }

    fn begin_frame(&mut self) -> Result<(), DecompressError> {
        self.between_frames = false;
        self.announced = get_frame_content_size(self.rest)
            .map_err(|_| DecompressError::Corrupt("not a zstd frame"))?;
        Ok(())
    }

    /// Decompresses what fits into `out`, at most to the end of the frame.
    ///
    /// That a frame is as large as it says is checked here: the library does so only when it meets
    /// the frame whole, and a batch must not be good in one buffer and bad in another.
    fn step(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let context = self.context.as_mut().expect("kept until the drop");
        let mut output = OutBuffer::around(out);
        let mut input = InBuffer::around(self.rest);
        let wanted = context
            .decompress_stream(&mut output, &mut input)
            .map_err(|_| DecompressError::Corrupt("not zstd data, or its window is too large"))?;
        let produced = output.pos();
        let consumed = input.pos();
        self.rest = &self.rest[consumed..];
        self.between_frames = wanted == 0;
        if let Some(announced) = self.announced {
            let left = announced.checked_sub(produced as u64);
            let left = left.filter(|left| !self.between_frames || *left == 0);
            self.announced = left;
            if left.is_none() {
                return Err(DecompressError::Corrupt("zstd frame of another size"));
            }
        }
        Ok(produced)
    }
}

impl Drop for ZstdStream<'_> {
    fn drop(&mut self) {
        let Some(mut context) = self.context.take() else {
            return;
        };
        let clean = context.reset(ResetDirective::SessionOnly).is_ok();
        if clean && context.sizeof() <= KEPT_BYTES_MAX {
            DECOMPRESSOR.set(Some(context));
        }
    }
}
