//! Repack: what a client needs that copies the living extents of a pack into a new one: every version, and swapping pages.
//!
//! A swapped page and what its version refers to change in one commit. The old pack loses the reference and gets its mark; whoever read the
//! old page can go on reading the old pack until its shards have left the peers' trash.

use common::bounded::BoundedVec;
use common::id::{AccountId, RequestId};
use common::limits::{ANSWER_BYTES, LIST_VERSIONS};
use common::proto::Refusal;
use common::proto::directory::{ListVersions, PagesSwapped, SwapPages, SwappedPage, VersionOfNode, VersionsListed};
use common::proto::parts::{SealedPage, VersionView};
use common::proto::refusal::What;

use super::content::Noted;
use super::{Context, page, rekey, upload};
use crate::authorize::OfAccount;
use crate::schema::{Mark, Page, Version, key, record};
use crate::transact::{Operation, Stop, Txn};

impl Operation for ListVersions {
    const NAME: &'static str = "ListVersions";
    type Who = OfAccount;
    type Answer = VersionsListed;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<VersionsListed, Stop> {
        let account = who.account();
        let mut range = key::versions(account);
        if let Some(after) = self.after {
            range = range.behind(key::version(account, after).bytes());
        }
        let page = txn.scan(&range, LIST_VERSIONS).await?;
        let (mut versions, mut bytes, mut more) = (Vec::with_capacity(page.entries.len()), 0, page.more);
        for entry in page.entries {
            let (_, version) = key::ids_of_version(&entry.key)?;
            let Version { node, meta, redundancy, pages, sealed_bytes, committed } = record::decode(&entry.value)?;
            bytes += meta.len() + 128;
            if bytes > ANSWER_BYTES && !versions.is_empty() {
                more = true;
                break;
            }
            let version = VersionView { version, meta, pages, sealed_bytes, redundancy, committed };
            versions.push(VersionOfNode { node, version });
        }
        let versions = versions.try_into().map_err(|_| Refusal::TooLarge(What::Version))?;
        Ok(VersionsListed { versions, more })
    }
}

impl Operation for SwapPages {
    const NAME: &'static str = "SwapPages";
    type Who = OfAccount;
    type Answer = PagesSwapped;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<PagesSwapped, Stop> {
        let account = who.account();
        upload::used(txn, account, self.upload, context).await?;
        let contents = self.pages.iter().filter_map(|page| page.content.as_ref());
        rekey::check(txn, account, contents.map(|content| &*content.sealed)).await?;
        let versions: Vec<_> = self.pages.iter().map(|page| key::version(account, page.version)).collect();
        txn.fetch(&versions).await?;
        let pages: Vec<_> = self.pages.iter().map(|page| key::page(account, page.version, 0)).collect();
        txn.fetch(&pages).await?;
        let mut noted = Noted::default();
        let mut swapped = Vec::with_capacity(self.pages.len());
        for page in &self.pages {
            swapped.push(swap(self, txn, account, page, &mut noted).await?);
        }
        noted.write(txn, account)?;
        Ok(PagesSwapped { swapped: BoundedVec::try_from(swapped).map_err(|_| Refusal::TooLarge(What::Page))? })
    }
}

/// Swaps one page, if it is what it was.
async fn swap(
    request: &SwapPages,
    txn: &mut Txn,
    account: AccountId,
    new: &SwappedPage,
    noted: &mut Noted,
) -> Result<bool, Stop> {
    let [pack] = &*new.page.chunks else { return Err(Refusal::Malformed.into()) };
    page::held(txn, account, request.upload, &new.page.chunks).await?;
    let (version, place) = (key::version(account, new.version), key::page(account, new.version, 0));
    let Some(found) = txn.read(&version).await?.filter(|found| found.record.pages == 1) else { return Ok(false) };
    let Some(old) = txn.read(&place).await? else { return Ok(false) };
    let [before] = &*old.record.chunks else { return Ok(false) };
    if *blake3::hash(&old.record.sealed).as_bytes() != new.was {
        return Ok(false);
    }
    if before != pack {
        txn.put(&key::reference(account, *pack, new.version), &Mark {})?;
        txn.delete(&key::reference(account, *before, new.version));
        txn.put(&key::collect(account, *before), &Mark {})?;
    }
    let chunks = vec![*pack].try_into().map_err(|_| Refusal::TooLarge(What::Page))?;
    let sealed = SealedPage::try_from(new.page.sealed.to_vec()).map_err(|_| Refusal::TooLarge(What::Page))?;
    txn.put(&place, &Page { chunks, sealed })?;
    if found.record.sealed_bytes != new.sealed_bytes {
        txn.put(&version, &Version { sealed_bytes: new.sealed_bytes, ..found.record })?;
    }
    if let Some(content) = &new.content {
        noted.note(txn, account, *pack, new.version, content)?;
    }
    Ok(true)
}
