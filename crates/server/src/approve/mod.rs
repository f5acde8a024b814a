//! A person's yes (design, section 5, "Approval"): asked for in the batch of the decision that needs it, answered by
//! people whom policy lets answer, used once in the batch of the decision that it turns.
//!
//! [`draft`]: what is asked, as a record. [`request`]: asking, once for one thing. [`answer`]: yes and no. [`view`]:
//! what can be seen. [`redeem`]: using a yes for a token; [`call`]: for a call.
//! [`backchannel`]: asking the person whose it is. [`expire`]: what nobody answered.
//! [`notice`] and [`deliver`]: telling people.

pub mod answer;
pub mod backchannel;
pub mod call;
pub mod deliver;
pub mod draft;
pub mod expire;
pub mod notice;
pub mod redeem;
pub mod request;
pub mod sealed;
pub mod step_up;
pub mod view;
