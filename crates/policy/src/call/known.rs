//! What of a call does not depend on its arguments: entities, context, and the policies that can match. Made once
//! for the same facts, so that a call costs what its own arguments cost.

use super::Question;
use crate::call_entities::Called;
use crate::decide::{Answer, answer};
use crate::entities::{self, FactError, Kind};
use crate::set::PolicySet;
use cedar_policy as cedar;
use chancery_core::decision::ActionRow;
use chancery_core::proposal::Facts;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A call without its arguments, ready to be asked about.
pub(crate) struct Known {
    /// Everything but the arguments.
    entities: cedar::Entities,
    pub(super) call: Asked,
    /// Asked when the call needs a connection.
    pub(super) connection: Option<Asked>,
}

/// One question to policy, and the policies that can match it.
pub(super) struct Asked {
    question: Question,
    request: cedar::Request,
    slice: Arc<cedar::PolicySet>,
    reads_arguments: bool,
    /// What came of it, where it does not depend on arguments.
    row: OnceLock<ActionRow>,
}

impl Known {
    /// What these facts come to; `None` where they cannot be given to policy, which is a deny.
    pub(crate) fn of(set: &PolicySet, facts: &Facts) -> Option<Arc<Self>> {
        // A yes grows older from one moment to the next.
        if set.index.depends_on_time() || facts.approval.is_some() {
            return Self::new(set, facts).ok().map(Arc::new);
        }
        set.calls
            .recall(facts, false, || Self::new(set, facts).ok().map(Arc::new))
    }

    fn new(set: &PolicySet, facts: &Facts) -> Result<Self, FactError> {
        let called = Called::of(facts)?;
        let principals = entities::principals(facts);
        let context = called.context(set.index.reads_now())?;
        let asked = |question| Asked::new(set, question, &principals, &context);
        let call = asked(Question::of_call(called))?;
        let connection = Question::of_connection(called).map(asked).transpose()?;
        // The actions are there so that a policy may speak of their groups.
        let actions = std::iter::once(&call).chain(&connection);
        let mut all: HashMap<cedar::EntityUid, cedar::Entity> = actions
            .flat_map(|asked| set.action(asked.question.action))
            .map(|action| (action.uid(), action.clone()))
            .collect();
        all.extend(
            called
                .entities()?
                .into_iter()
                .map(|entity| (entity.uid(), entity)),
        );
        Ok(Self {
            entities: cedar::Entities::from_entities(all.into_values(), None).map_err(FactError::of)?,
            call,
            connection,
        })
    }

    /// Whether any policy that can match reads arguments.
    pub(crate) fn reads_arguments(&self) -> bool {
        let mut asked = std::iter::once(&self.call).chain(&self.connection);
        asked.any(|asked| asked.reads_arguments)
    }

    /// The entities together with the arguments, where a policy reads them.
    pub(super) fn entities(&self, called: Called<'_>) -> Result<Cow<'_, cedar::Entities>, FactError> {
        if !self.reads_arguments() {
            return Ok(Cow::Borrowed(&self.entities));
        }
        let entities = self.entities.clone().add_entities(called.arguments()?, None);
        entities.map(Cow::Owned).map_err(FactError::of)
    }
}

impl Asked {
    fn new(
        set: &PolicySet,
        question: Question,
        principals: &[cedar::EntityUid],
        context: &cedar::Context,
    ) -> Result<Self, FactError> {
        let action = entities::uid(Kind::Action, question.action);
        let slice = set.index.slice(&action, principals, &question.resources);
        let ends = principals
            .first()
            .cloned()
            .zip(question.resources.first().cloned());
        let (principal, resource) = ends.ok_or_else(|| FactError::of("a question without its ends"))?;
        let request = cedar::Request::new(principal, action, resource, context.clone(), None);
        Ok(Self {
            request: request.map_err(FactError::of)?,
            reads_arguments: set.index.reads_arguments(&slice),
            question,
            slice,
            row: OnceLock::new(),
        })
    }

    /// What policy says.
    pub(super) fn row(&self, set: &PolicySet, entities: &cedar::Entities) -> ActionRow {
        if self.reads_arguments {
            return self.ask(set, entities);
        }
        self.row.get_or_init(|| self.ask(set, entities)).clone()
    }

    fn ask(&self, set: &PolicySet, entities: &cedar::Entities) -> ActionRow {
        let response = set.authorizer.is_authorized(&self.request, &self.slice, entities);
        let Answer {
            allowed,
            policies,
            errors,
        } = answer(&response);
        ActionRow {
            action: self.question.action.to_owned(),
            target: self.question.target.clone(),
            arguments: set.index.arguments(&self.slice, &policies),
            allowed,
            policies,
            errors,
        }
    }
}
