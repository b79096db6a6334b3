% Loads the modules of RabbitMQ in a separate process while RabbitMQ boots; with LAB_STANDBY set before
% it boots, which waits for that file. The apps are in the order of the boot; apps that this
% version does not have are skipped, and so is asn1, whose compiler a broker does not use.
% ERL_AFLAGS carries this as one line in single quotes, so it must not contain quotes.
% RabbitMQ starts helper VMs, which must not do the same.
os:unsetenv([$E,$R,$L,$_,$A,$F,$L,$A,$G,$S]),
Apps = [rabbitmq_prelaunch, rabbit_common, rabbit, cuttlefish, syslog, sasl, os_mon,
    osiris, ra, aten, seshat, gen_batch_server, enough, sysmon_handler,
    credentials_obfuscation, jsx, mnesia, khepri, khepri_mnesia_migration, horus, ranch,
    recon, stdout_formatter, observer_cli, systemd, xmerl, crypto, public_key, ssl,
    tools, syntax_tools, amqp10_common, oauth2_client, inets, cowlib, cowboy, amqp_client,
    rabbitmq_management_agent, rabbitmq_web_dispatch, rabbitmq_management, compiler,
    stdlib, kernel],
App = fun(Dir) -> hd(string:split(filename:basename(filename:dirname(Dir)), [$-])) end,
Dirs = maps:from_list([{App(Dir), Dir} || Dir <- code:get_path()]),
Modules = [list_to_atom(filename:rootname(File)) || Name <- Apps,
    {ok, Dir} <- [maps:find(atom_to_list(Name), Dirs)],
    {ok, Files} <- [erl_prim_loader:list_dir(Dir)],
    File <- Files,
    filename:extension(File) =:= [$. | atom_to_list(beam)]],
Load = fun Next([]) -> ok;
           Next(Left) ->
               {Now, Later} = lists:split(min(150, length(Left)), Left),
               code:ensure_modules_loaded(Now),
               Next(Later)
       end,
case os:getenv([$L,$A,$B,$_,$S,$T,$A,$N,$D,$B,$Y]) of
    false -> spawn(fun() -> Load(Modules) end);
    Go -> Load(Modules), io:format(standby_loaded),
        Wait = fun W() ->
            case filelib:is_file(Go) of true -> ok; false -> receive after 10 -> W() end end
        end,
        Wait()
end
