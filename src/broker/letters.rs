//! Writing letters on one channel and waiting for every answer, each return given to the letter it is about.
//!
//! Only whole batches come here, on a channel that nobody else writes to: that is what makes the attribution
//! certain. All returns of the broker come before the last confirm of their batch.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use futures::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};

use super::error::refusal;
use super::message::{Message, PublishOutcome, Wire};

/// A message that is ready to be written, and its place among those it was given with.
pub(super) struct Letter<'a> {
    pub at: usize,
    pub message: &'a Message,
    pub mandatory: bool,
    pub wire: Wire,
}

/// Which message a return is about. Copies of one message share it, and share their route.
type Address = (String, String, String);

/// The outcomes, and the broker's words if it closed the channel over one of the letters.
pub(super) async fn write_and_wait(
    channel: &Channel,
    letters: Vec<Letter<'_>>,
) -> (Vec<(usize, PublishOutcome)>, Option<(u16, String)>) {
    let mut writes = Vec::with_capacity(letters.len());
    let mut about = Vec::with_capacity(letters.len());
    for letter in letters {
        let options = BasicPublishOptions {
            mandatory: letter.mandatory,
            immediate: false,
        };
        about.push((letter.at, letter.message));
        let Wire {
            exchange,
            routing_key,
            properties,
        } = letter.wire;
        let body = letter.message.body.as_ref();
        let mut write = Box::pin(channel.basic_publish(exchange, routing_key, options, body, properties));
        // The first poll takes the tag and queues the frames; waiting here for the socket would cost a turn of
        // lapin's thread for each message.
        let first = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
        writes.push((first, write));
    }
    let answers = join_all(writes.into_iter().map(|(first, write)| async move {
        let written = match first {
            Poll::Ready(written) => written,
            Poll::Pending => write.await,
        };
        written?.await
    }))
    .await;

    let mut returned: HashMap<Address, usize> = HashMap::new();
    let mut outcomes = Vec::with_capacity(answers.len());
    let mut closed_by = None;
    for answer in answers {
        outcomes.push(match answer {
            Ok(Confirmation::Ack(back)) => {
                count_return(&mut returned, back);
                PublishOutcome::Confirmed
            }
            Ok(Confirmation::Nack(back)) => {
                count_return(&mut returned, back);
                PublishOutcome::Nacked
            }
            Err(error) => {
                closed_by = closed_by.or_else(|| refusal(&error));
                PublishOutcome::Lost
            }
            // Without a confirm nothing is known; the channel asked for them, so this does not happen.
            Ok(Confirmation::NotRequested) => PublishOutcome::Lost,
        });
    }
    let told = about
        .into_iter()
        .zip(outcomes)
        .map(|((at, message), outcome)| {
            let back = !returned.is_empty()
                && outcome == PublishOutcome::Confirmed
                && take_return(&mut returned, message);
            (at, if back { PublishOutcome::Unroutable } else { outcome })
        })
        .collect();
    (told, closed_by)
}

fn count_return(returned: &mut HashMap<Address, usize>, back: Option<lapin::message::BasicReturnMessage>) {
    if let Some(back) = back {
        let id = back
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let address = (back.exchange.to_string(), back.routing_key.to_string(), id);
        *returned.entry(address).or_default() += 1;
    }
}

fn take_return(returned: &mut HashMap<Address, usize>, message: &Message) -> bool {
    let address = (
        message.exchange.clone(),
        message.routing_key.clone(),
        message.message_id.clone(),
    );
    match returned.get_mut(&address) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}
