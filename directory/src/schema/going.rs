//! Going: a version that nothing leads to any more, and whose pages and references are being released.
//!
//! Its own record is gone already: it went in the commit that ended the last history record which led to it.

use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Going {
    /// Pages that its manifest had.
    pub pages: u32,
}

impl Record for Going {
    const NAME: &'static str = "version on its way out";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Going { pages: 300 }, "01fb2c01");
    }
}
