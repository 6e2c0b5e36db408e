//! `BoostService`.

use std::sync::Arc;

use seedbank_engine::interface::command::{BoostOrder, Command, CommandReply};
use seedbank_ledger::Rate;
use seedbank_proto::v1::boost_service_server::BoostService;
use seedbank_proto::{Failure, v1};
use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::page::page;
use super::{error, field, message};

/// Spends credit for being unchoked first.
pub(super) struct BoostsApi {
    pub(super) backend: Arc<dyn Backend>,
}

type Answer<T> = Result<Response<T>, Status>;

impl BoostsApi {
    /// The highest bid: twice par unless told otherwise, so that a boost can outbid once.
    fn bid(&self, raw: Option<i64>) -> Result<Rate, Failure> {
        match raw {
            Some(raw) => field::rate("bid_microcredits_per_gib", raw),
            None => {
                let par = self.backend.info().par_price();
                Ok(par.saturating_add(par))
            }
        }
    }

    async fn get(&self, id: u64) -> Result<v1::Boost, Failure> {
        let boosts = self.backend.boosts().await.map_err(error::of_stopping)?;
        let boost = boosts.iter().find(|boost| boost.id == id);
        boost
            .map(message::boost)
            .ok_or_else(|| error::boost_unknown(id))
    }

    async fn command(&self, command: Command) -> Result<CommandReply, Failure> {
        let reply = self.backend.command(command).await;
        reply.map_err(|error| error::of_command(&error))
    }
}

#[tonic::async_trait]
impl BoostService for BoostsApi {
    async fn quote_boost(
        &self,
        request: Request<v1::QuoteBoostRequest>,
    ) -> Answer<v1::QuoteBoostResponse> {
        let request = request.into_inner();
        let torrent_id = field::torrent_id(&request.info_hash)?;
        let bid = self.bid(request.bid_microcredits_per_gib)?;
        let quote = self.backend.boost_quote(torrent_id, bid).await;
        let quote = quote.map_err(error::of_stopping)?;
        let quote = quote.ok_or_else(|| error::torrent_unknown(torrent_id))?;
        Ok(Response::new(message::boost_quote(&quote, bid)))
    }

    async fn create_boost(
        &self,
        request: Request<v1::CreateBoostRequest>,
    ) -> Answer<v1::CreateBoostResponse> {
        let request = request.into_inner();
        let order = BoostOrder {
            request_id: field::request_id(&request.request_id)?.to_owned(),
            torrent_id: field::torrent_id(&request.info_hash)?,
            max: field::amount("max_microcredits", request.max_microcredits)?,
            bid: self.bid(request.bid_microcredits_per_gib)?,
            time_to_live_secs: request.time_to_live.as_ref().map(secs_of).transpose()?,
        };
        let CommandReply::Boost(id) = self.command(Command::Boost(order)).await? else {
            return Err(Status::internal("the session gave no boost"));
        };
        Ok(Response::new(v1::CreateBoostResponse {
            boost: Some(self.get(id).await?),
        }))
    }

    async fn get_boost(
        &self,
        request: Request<v1::GetBoostRequest>,
    ) -> Answer<v1::GetBoostResponse> {
        let id = field::boost_id(&request.get_ref().boost_id)?;
        Ok(Response::new(v1::GetBoostResponse {
            boost: Some(self.get(id).await?),
        }))
    }

    async fn list_boosts(
        &self,
        request: Request<v1::ListBoostsRequest>,
    ) -> Answer<v1::ListBoostsResponse> {
        let request = request.into_inner();
        let size = field::page_size(request.page_size)?;
        let after = field::page_token(&request.page_token, |text| text.parse::<u64>().ok())?;
        let mut boosts = self.backend.boosts().await.map_err(error::of_stopping)?;
        boosts.retain(|boost| {
            let state = i32::from(message::boost_state(boost));
            request.states.is_empty() || request.states.contains(&state)
        });
        boosts.sort_by_key(|boost| std::cmp::Reverse(boost.id));
        let (boosts, next_page_token) = page(
            boosts,
            after,
            size,
            |boost, after| boost.id < *after,
            |boost| boost.id.to_string(),
        );
        Ok(Response::new(v1::ListBoostsResponse {
            boosts: boosts.iter().map(message::boost).collect(),
            next_page_token,
        }))
    }

    async fn cancel_boost(
        &self,
        request: Request<v1::CancelBoostRequest>,
    ) -> Answer<v1::CancelBoostResponse> {
        let id = field::boost_id(&request.get_ref().boost_id)?;
        self.command(Command::CancelBoost(id)).await?;
        Ok(Response::new(v1::CancelBoostResponse {
            boost: Some(self.get(id).await?),
        }))
    }
}

fn secs_of(time_to_live: &prost_types::Duration) -> Result<u64, Failure> {
    u64::try_from(time_to_live.seconds)
        .ok()
        .filter(|secs| *secs > 0)
        .ok_or_else(|| field::bad("time_to_live", "must be at least a second"))
}
