os:unsetenv("ERL_AFLAGS"),Apps=[rabbitmq_prelaunch,rabbit_common,rabbit,cuttlefish,syslog,sasl,os_mon,osiris,ra,aten,seshat,gen_batch_server,enough,sysmon_handler,credentials_obfuscation,jsx,mnesia,khepri,khepri_mnesia_migration,horus,ranch,recon,stdout_formatter,observer_cli,systemd,xmerl,crypto,public_key,asn1,ssl,tools,syntax_tools,amqp10_common,oauth2_client,inets,cowlib,cowboy,amqp_client,rabbitmq_management_agent,rabbitmq_web_dispatch,rabbitmq_management,compiler,stdlib,kernel],
Dirs=lists:foldl(fun(D,M)->A=hd(string:split(filename:basename(filename:dirname(D)),[$-])),M#{A=>D} end,#{},code:get_path()),
Mods=[list_to_atom(filename:rootname(F))||A<-Apps,{ok,D}<-[maps:find(atom_to_list(A),Dirs)],{ok,Fs}<-[erl_prim_loader:list_dir(D)],F<-Fs,filename:extension(F)=:=[$.|atom_to_list(beam)]],
Load=fun Go([])->ok;Go(L)->{C,R}=lists:split(min(150,length(L)),L),code:ensure_modules_loaded(C),Go(R) end,
spawn(fun()->Load(Mods) end)
