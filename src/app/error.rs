//! Why a process does not start, or does not go on: one sentence, and a code that says whose fault it is.

use std::path::PathBuf;

use crate::broker::BrokerError;
use crate::connectors::WrongSystem;
use crate::plan::PlanErrors;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{source}")]
    System { source: WrongSystem },
    #[error("{source}")]
    Plans { source: PlanErrors },
    #[error("cannot read the plans in {folder}")]
    PlanFolder { folder: PathBuf, source: std::io::Error },
    #[error("two files name a plan for {target}: {first} and {second}; wanted one plan for a target")]
    TwoPlans {
        target: String,
        first: String,
        second: String,
    },
    #[error("{}: {why}", file.display())]
    Calls { file: PathBuf, why: String },
    #[error("{why}")]
    Lease { why: String },
    #[error("the {part} ended by itself; everything else was stopped in order")]
    Ended { part: &'static str },
    #[error("cannot use Sexton's own database")]
    Store { source: StoreError },
    #[error("cannot use RabbitMQ")]
    Broker { source: BrokerError },
    #[error("{why}")]
    Access { why: String },
    #[error("{why}")]
    Certificate { why: String },
    #[error(
        "gateway.listen: found nothing; wanted an address, since the gateway is all that this process shall be"
    )]
    NoGateway,
    #[error("cannot open {address} for the gateway")]
    Gateway { address: String, source: std::io::Error },
    #[error("cannot open {address} for the pages of metrics and health")]
    Endpoint { address: String, source: std::io::Error },
}

impl AppError {
    /// As sysexits.h has them: usage, data, unavailable.
    pub fn exit_code(&self) -> u8 {
        match self {
            AppError::System { .. }
            | AppError::Access { .. }
            | AppError::Certificate { .. }
            | AppError::NoGateway
            | AppError::Gateway { .. }
            | AppError::Endpoint { .. }
            | AppError::Lease { .. } => 64,
            AppError::Plans { .. }
            | AppError::PlanFolder { .. }
            | AppError::TwoPlans { .. }
            | AppError::Calls { .. } => 65,
            // EX_SOFTWARE: a supervisor starts it again.
            AppError::Ended { .. } => 70,
            AppError::Store { .. } | AppError::Broker { .. } => 69,
        }
    }
}
