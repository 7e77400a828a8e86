//! How a `config.pbtxt` schedules requests: batches, queues, instances and threads. What has no like here and changes no
//! answer is noted for the log.

use super::section::{once, refuse, unsupported};
use super::syntax::{FieldValue, NamedField};
use super::{LANES_MAX, ModelConfig};
use crate::core::error::Result;
use std::time::Duration;

/// The longest wait for a batch to fill, in microseconds, as for the setting.
const DELAY_US_MAX: u64 = 10_000_000;
/// The most rows of a batch, as for the setting.
const ROWS_MAX: u32 = 65_536;
/// The most threads of a run, as for the setting.
const THREADS_MAX: usize = 1_024;

const NO_LEVELS: &str = "dynamic_batching: the priority of a request is honoured, without a number of levels or policies of their own";
const NO_DELAY_ACTION: &str =
    "default_queue_policy: a request that waits too long is refused, not delayed further";
const NO_RATE_LIMITER: &str = "rate_limiter: runs of different models are not limited by resources";
const NO_PROFILES: &str = "instance_group: profile and secondary_devices are not used";
const NO_PARAMETERS: &str = "parameters: only intra_op_thread_count is used";

impl ModelConfig {
    /// Takes `max_batch_size`.
    pub(super) fn take_rows(&mut self, field: &NamedField) -> Result<()> {
        let rows: u32 = field.number()?;
        if rows > ROWS_MAX {
            return refuse(field, format!("must be at most {ROWS_MAX}"));
        }
        self.unbatched = rows == 0;
        self.batch_rows_max = (rows > 0).then_some(rows);
        Ok(())
    }

    /// Takes `dynamic_batching`.
    pub(super) fn take_batching(&mut self, field: &NamedField) -> Result<()> {
        let fields = match &field.value {
            FieldValue::Message(fields) => {
                once(fields, &["preferred_batch_size", "priority_queue_policy"])?
            }
            _ => return refuse(field, "must be a message in braces"),
        };
        for field in fields {
            match field.name.as_str() {
                // A hint about speed; this server chooses batch sizes itself.
                "preferred_batch_size" => drop(field.numbers::<u32>()?),
                "max_queue_delay_microseconds" => {
                    let delay_us: u64 = field.number()?;
                    if delay_us > DELAY_US_MAX {
                        return refuse(field, format!("must be at most {DELAY_US_MAX}"));
                    }
                    self.batch_delay = Some(Duration::from_micros(delay_us));
                }
                // Requests of one connection are answered in their order where the protocol has one.
                "preserve_ordering" => drop(field.flag()?),
                "priority_levels" | "default_priority_level" => {
                    let _: u64 = field.number()?;
                    self.notices.push(NO_LEVELS);
                }
                "priority_queue_policy" => self.notices.push(NO_LEVELS),
                "default_queue_policy" => self.take_queue_policy(field)?,
                _ => return unsupported(field),
            }
        }

        Ok(())
    }

    fn take_queue_policy(&mut self, field: &NamedField) -> Result<()> {
        for field in field.message()? {
            match field.name.as_str() {
                "timeout_action" => match field.word()? {
                    "REJECT" => {}
                    "DELAY" => self.notices.push(NO_DELAY_ACTION),
                    _ => return refuse(field, "must be REJECT or DELAY"),
                },
                "default_timeout_microseconds" => {
                    let timeout_us: u64 = field.number()?;
                    self.queue_timeout =
                        (timeout_us > 0).then_some(Duration::from_micros(timeout_us));
                }
                "max_queue_size" => {
                    let size: u32 = field.number()?;
                    self.queue_rows_max = (size > 0).then_some(size);
                }
                // A request may always say how long it waits.
                "allow_timeout_override" => drop(field.flag()?),
                _ => return unsupported(field),
            }
        }
        Ok(())
    }

    /// Takes `parameters`, of which ONNX Runtime's number of threads means something here.
    pub(super) fn take_parameters(&mut self, field: &NamedField) -> Result<()> {
        for entry in field.messages(&[])? {
            let of = |name: &str| entry.iter().find(|field| field.name == name);
            let key = of("key").map(NamedField::text).transpose()?;
            let (Some("intra_op_thread_count"), Some(value)) = (key, of("value")) else {
                self.notices.push(NO_PARAMETERS);
                continue;
            };
            for text in value.message()?.iter().filter(|f| f.name == "string_value") {
                let threads = text.text()?.parse().ok();
                match threads.filter(|threads| *threads <= THREADS_MAX) {
                    // As many as the machine has.
                    Some(0) => self.notices.push(NO_PARAMETERS),
                    Some(threads) => self.intra_op_threads = Some(threads),
                    None => {
                        return refuse(
                            text,
                            format!("must be a number of threads from 0 to {THREADS_MAX}"),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a group of instances: lanes, and whether they need a GPU.
    pub(super) fn take_group(&mut self, whole: &NamedField, group: &[NamedField]) -> Result<()> {
        let (mut count, mut kind, mut gpus) = (1, "KIND_AUTO", Vec::new());
        for field in group {
            match field.name.as_str() {
                "name" | "host_policy" => drop(field.text()?),
                "count" => count = field.number::<usize>()?,
                "kind" => kind = field.word()?,
                "gpus" => gpus.extend(field.numbers::<u32>()?),
                "passive" => field.only_false()?,
                // Which instance runs when changes no answer.
                "rate_limiter" => self.notices.push(NO_RATE_LIMITER),
                "profile" | "secondary_devices" => self.notices.push(NO_PROFILES),
                _ => return unsupported(field),
            }
        }

        if !(1..=LANES_MAX).contains(&count) {
            return refuse(whole, format!("must have a count from 1 to {LANES_MAX}"));
        }
        match kind {
            "KIND_CPU" if !gpus.is_empty() => {
                return refuse(whole, "lists gpus, which KIND_CPU does not accept");
            }
            "KIND_CPU" | "KIND_AUTO" => self.lanes = Some(self.lanes.unwrap_or_default() + count),
            "KIND_GPU" => self.gpu = true,
            _ => {
                return refuse(whole, "must have the kind KIND_CPU, KIND_GPU or KIND_AUTO");
            }
        }

        for gpu in gpus {
            if !self.gpus.contains(&gpu) {
                self.gpus.push(gpu);
            }
        }

        Ok(())
    }
}
