//! The rules of the Model Context Protocol for a gateway that stands in front of one server over streamable HTTP.
//!
//! ```text
//! POST body ─→ envelope ─→ era ─→ headers ─→ method ─→ schema ─→ fields ─→ (policy decides)
//!                                                        │
//!                          arguments: what was hashed is what is sent
//! upstream ─→ sse ─→ server_message ─→ list, manifest ─→ caller
//! ```
//!
//! Revisions 2025-03-26, 2025-06-18 and 2025-11-25, which have sessions, and 2026-07-28, which has none. Only what must
//! be read is read; everything else passes as the bytes that it was.
//!
//! Pure: no socket, no clock, no HTTP type. Headers come as names and bytes; statuses go as numbers. Tokens are verified
//! and decisions made elsewhere.

pub mod arguments;
pub mod challenge;
mod declared;
pub mod digest;
pub mod elicitation;
pub mod envelope;
pub mod era;
pub mod error;
pub mod fields;
pub mod header_parameter;
pub mod header_value;
pub mod headers;
pub mod id;
pub mod list;
pub mod manifest;
mod members;
pub mod method;
pub mod prompt;
pub mod resource_metadata;
pub mod schema;
pub mod server_message;
pub mod sse;
mod subschema;

pub use arguments::{CanonicalError, CanonicalRequest, canonical};
pub use challenge::{Challenge, ChallengeError, Refusal};
pub use digest::Digest;
pub use elicitation::Visit;
pub use envelope::{
    Envelope, EnvelopeError, EnvelopeFault, Message, Notification, Object, Request, Response,
};
pub use era::{Era, EraError, Revision};
pub use error::{ErrorCode, ErrorResponse};
pub use fields::{Field, FieldError, policy_fields, secret_fields};
pub use header_parameter::{AnnotationError, HeaderParameters};
pub use headers::{HeaderError, Headers};
pub use id::RequestId;
pub use list::{Filtered, Item, ListError};
pub use manifest::{Descriptor, DescriptorError, Difference, Manifest};
pub use members::MembersError;
pub use method::{Call, Listing, Method, SessionCall, Target, TargetError};
pub use resource_metadata::ResourceMetadata;
pub use schema::{ArgumentError, ArgumentFault, InputSchema, SchemaError};
pub use server_message::{ServerMessage, ServerMessageError};
pub use sse::{Decoder, Event, SseError};
