mod asyncapi;
mod contract;
