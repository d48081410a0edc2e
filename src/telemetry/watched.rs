//! Counters that another part keeps for itself, read when somebody looks. Counting then costs nothing extra, and the
//! part needs to know nothing of metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

pub(super) struct Watched {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Watched {
    pub(super) fn new(
        name: &'static str,
        help: &'static str,
        read: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Self {
        Watched { name, help, read }
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = ConstCounter::new((self.read)());
        let line = encoder.encode_descriptor(self.name, self.help, None, now.metric_type())?;
        now.encode(line)
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
