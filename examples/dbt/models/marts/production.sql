-- What was done, by month: 2 is "complete".
select
    date_trunc('month', done_on)::date as month,
    count(*) as procedures,
    sum(fee) as fees
from {{ ref('stg_procedure') }}
where status = 2
group by 1
