//! Folders: making them. In order, so that a later one may lie in an earlier one; one that is refused stops no other.

use common::id::RequestId;
use common::proto::Refusal;
use common::proto::directory::{FolderMade, FoldersMade, MakeFolders, NewFolder};
use common::proto::parts::NodeKind;
use common::proto::refusal::What;

use super::{Context, rekey, tree};
use crate::authorize::OfAccount;
use crate::schema::{Entry, Node, key};
use crate::transact::{Operation, Stop, Txn};

impl Operation for MakeFolders {
    const NAME: &'static str = "MakeFolders";
    type Who = OfAccount;
    type Answer = FoldersMade;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<FoldersMade, Stop> {
        rekey::check(txn, who.account(), self.folders.iter().map(|folder| &*folder.sealed)).await?;
        let mut results = Vec::with_capacity(self.folders.len());
        for folder in &self.folders {
            results.push(match make(txn, who, folder).await {
                Err(Stop::Refused(refusal)) => FolderMade::Refused(refusal),
                made => made?,
            });
        }
        if results.contains(&FolderMade::Made) {
            tree::note_change(txn, who.account(), context.now)?;
        }
        let results = results.try_into().map_err(|_| Refusal::TooLarge(What::Folder))?;
        Ok(FoldersMade { results })
    }
}

async fn make(txn: &mut Txn, who: OfAccount, new: &NewFolder) -> Result<FolderMade, Stop> {
    let account = who.account();
    tree::climb(txn, account, new.folder, None).await?;
    if let Some(there) = txn.read(&key::entry(account, new.folder, new.token)).await? {
        return Ok(FolderMade::Exists(there.record.node, there.record.kind));
    }
    if txn.read(&key::node(account, new.node)).await?.is_some() {
        return Err(Refusal::Exists(What::Node).into());
    }
    let entry = Entry { node: new.node, kind: NodeKind::Folder, sealed: new.sealed.clone() };
    tree::put_entry(txn, account, (new.folder, new.token), &entry, None)?;
    tree::put_node(txn, account, new.node, Node::Folder { parent: Some(new.folder) }, None)?;
    Ok(FolderMade::Made)
}
